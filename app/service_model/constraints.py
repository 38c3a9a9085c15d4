"""The model's limits, told in the words of AWS's front end: the second check of an operation's input.

boto3 checks minima and required members only; maxima, patterns and enums are checked nowhere but here. Client code
compares these texts, so the grammar is AWS's: Value 'V' at 'image.bytes' failed to satisfy constraint: Member must ...
"""

import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import groupby, islice
from typing import Any

from botocore.model import Shape

#: AWS's front end stops looking after this many.
MOST_VIOLATIONS = 10

#: A printed value is cut here; our own bound, so that a wrong 7 MB member does not come back in the error.
LONGEST_VALUE = 1024

# Beyond this length a text that is too long anyway is not matched against its pattern: some of the model's patterns
# take quadratic time.
LONGEST_MATCH = 4096

NOT_NULL = "Member must not be null"


def violations(shape: Shape, values: Mapping[str, Any]) -> list[str]:
    """List the first broken constraints of an operation's input, in the model's order of members."""
    return list(islice(_inside_structure(shape, values, ""), MOST_VIOLATIONS))


def _inspect(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield _violation(None, path, NOT_NULL)
        return
    for constraint in _broken(shape, value):
        yield _violation(value, path, constraint)
    if shape.type_name == "structure":
        yield from _inside_structure(shape, value, path + ".")
    elif shape.type_name in ("list", "map") and len(value) > shape.metadata.get("max", sys.maxsize):
        return  # it may be a million long
    elif shape.type_name == "list":
        for position, item in enumerate(value, start=1):
            yield from _inspect(shape.member, item, f"{path}.{position}.member")
    elif shape.type_name == "map":
        yield from _inside_map(shape, value, path)


def _inside_structure(shape: Shape, values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, member in shape.members.items():
        if name in values or name in shape.required_members:
            yield from _inspect(member, values.get(name), prefix + name[0].lower() + name[1:])


def _inside_map(shape: Shape, value: Mapping[str, Any], path: str) -> Iterator[str]:
    if any(_is_broken(shape.key, key) for key in value):
        yield _violation(value, path, f"Map keys must satisfy constraint: [{', '.join(_constraints(shape.key))}]")
    if any(_is_broken(shape.value, item) for item in value.values()):
        constraints = [*_constraints(shape.value), NOT_NULL]
        yield _violation(value, path, f"Map value must satisfy constraint: [{', '.join(constraints)}]")


def _is_broken(shape: Shape, value: Any) -> bool:
    return next(_inspect(shape, value, ""), None) is not None


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    limits = shape.metadata
    size = value if isinstance(value, int | float) else len(value)
    if "enum" in limits and value not in limits["enum"]:
        yield _enum(shape)
    if "pattern" in limits and not _matches(limits, value):
        yield _pattern(shape)
    if "min" in limits and size < limits["min"]:
        yield _minimum(shape)
    if "max" in limits and size > limits["max"]:
        yield _maximum(shape)


def _matches(limits: Mapping[str, Any], value: str) -> bool:
    if len(value) > LONGEST_MATCH and len(value) > limits.get("max", sys.maxsize):
        return True
    return compiled(limits["pattern"]).fullmatch(value) is not None


def _constraints(shape: Shape) -> list[str]:
    # All of them in AWS's order within brackets, which differs from its order outside.
    makers = {"max": _maximum, "min": _minimum, "pattern": _pattern, "enum": _enum}
    return [make(shape) for limit, make in makers.items() if limit in shape.metadata]


def _enum(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.metadata['enum'])}]"


def _pattern(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.metadata['pattern']}"


def _minimum(shape: Shape) -> str:
    return f"Member must have {_measure(shape)} greater than or equal to {shape.metadata['min']}"


def _maximum(shape: Shape) -> str:
    return f"Member must have {_measure(shape)} less than or equal to {shape.metadata['max']}"


def _measure(shape: Shape) -> str:
    return "value" if shape.type_name in ("integer", "long", "float", "double") else "length"


def _violation(value: Any, path: str, constraint: str) -> str:
    shown = _printed(value)
    if len(shown) > LONGEST_VALUE:
        shown = shown[:LONGEST_VALUE] + "..."
    quoted = shown if value is None else f"'{shown}'"
    return f"Value {quoted} at '{path}' failed to satisfy constraint: {constraint}"


def _printed(value: Any) -> str:
    """Print a value as Java does; long lists only as far as they can be shown."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, list):
        return f"[{', '.join(_printed(item) for item in value[:LONGEST_VALUE])}]"
    if isinstance(value, dict):
        pairs = islice(value.items(), LONGEST_VALUE)
        return f"{{{', '.join(f'{key}={_printed(item)}' for key, item in pairs)}}}"
    return str(value)


@lru_cache(maxsize=256)
def compiled(pattern: str) -> re.Pattern[str]:
    r"""Compile one of the model's Java patterns: \d, \w and \S mean ASCII there, and \p{L} is a category of Unicode."""
    return re.compile(re.sub(r"\\p\{(\w)\}", lambda found: _category(found[1]), pattern), re.ASCII)


@lru_cache(maxsize=8)
def _category(initial: str) -> str:
    """Write a category of Unicode as ranges for the inside of a character class; Python's re has no name for it."""
    points = [point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point))[0] == initial]
    ranges = []
    for _, run in groupby(enumerate(points), key=lambda pair: pair[1] - pair[0]):
        members = [point for _, point in run]
        ranges.append(f"{re.escape(chr(members[0]))}-{re.escape(chr(members[-1]))}")
    return "".join(ranges)
