"""From JSON to typed values: the first of the two checks of an operation's input.

A wrong type ends the request with SerializationException; the texts name Java's classes because AWS's front end does.
What leaves here holds known members only, and no string that Postgres could not store.
"""

import base64
import binascii
import math
import re
import struct
from collections.abc import Callable
from typing import Any, NoReturn

from botocore.model import Shape

from app.errors import SerializationError

LONGEST_ECHO = 64
#: Width of the whole numbers.
BITS = {"integer": 32, "long": 64}

#: Postgres refuses the null character in text and jsonb, and half a surrogate pair is no character at all.
UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def read(shape: Shape, value: object) -> Any:
    """Return a JSON value as the shape's type, or raise SerializationError."""
    return _READERS[shape.type_name](shape, value)


def _structure(shape: Shape, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse_list(value)
        raise SerializationError("Unexpected null" if value is None else "Expected null")
    members = shape.members.items()
    return {name: read(member, value[name]) for name, member in members if value.get(name) is not None}


def _list(shape: Shape, value: object) -> list[Any]:
    if not isinstance(value, list):
        _refuse_structure(value)
        raise SerializationError("Expected list or null")
    member = shape.member
    return [None if item is None else read(member, item) for item in value]


def _map(shape: Shape, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        _refuse_list(value)
        raise SerializationError("Expected map or null")
    key, member = shape.key, shape.value
    return {read(key, name): None if item is None else read(member, item) for name, item in value.items()}


def _string(shape: Shape, value: object) -> str:
    if not isinstance(value, str):
        _refuse(value, "an String")
    if UNSTORABLE.search(value):
        raise SerializationError("String holds a character that is not allowed: U+0000 or an unpaired surrogate")
    return value


def _boolean(shape: Shape, value: object) -> bool:
    if isinstance(value, str):
        raise SerializationError(f"'{_echo(value).upper()}' can not be converted to an Boolean")
    if not isinstance(value, bool):
        _refuse(value, "an Boolean")
    return value


def _integer(shape: Shape, value: object) -> int:
    wanted = f"an {shape.type_name.capitalize()}"
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(value, wanted)
    if value.bit_length() >= BITS[shape.type_name]:
        raise SerializationError(f"class java.math.BigInteger can not be converted to {wanted}")
    return value


def _float(shape: Shape, value: object) -> float:
    wanted = f"an {shape.type_name.capitalize()}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        _refuse(value, wanted)
    try:
        number = float(value)
        struct.pack("<f" if shape.type_name == "float" else "<d", number)
    except OverflowError:
        number = math.inf
    # json.loads reads NaN and Infinity, which JSON does not have and which pass every range check or none.
    if not math.isfinite(number):
        raise SerializationError(f"A number that is not finite can not be converted to {wanted}")
    return number


def _blob(shape: Shape, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        _refuse(value, "a Blob")
    refusal = f"'{_echo(value)}' can not be converted to a Blob: "
    if len(value) % 4:
        raise SerializationError(
            f"{refusal}Base64 encoded length is expected a multiple of 4 bytes but found: {len(value)}"
        )
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise SerializationError(f"{refusal}Invalid Base64 character") from None
    # Spare bits in front of the padding must be zero, or two texts would stand for the same bytes.
    if value.endswith("=") and base64.b64encode(decoded[-(len(decoded) % 3) :]).decode() != value[-4:]:
        raise SerializationError(f"{refusal}Invalid last non-pad Base64 character dectected")
    return decoded


_READERS: dict[str, Callable[[Shape, object], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
    "string": _string,
    "boolean": _boolean,
    "integer": _integer,
    "long": _integer,
    "float": _float,
    "double": _float,
    "blob": _blob,
}


def _echo(value: str) -> str:
    # A wrong value may be a whole image; neither the answer nor a log line should carry it.
    return value if len(value) <= LONGEST_ECHO else value[:LONGEST_ECHO] + "..."


def _refuse_list(value: object) -> None:
    if isinstance(value, list):
        raise SerializationError("Start of list found where not expected")


def _refuse_structure(value: object) -> None:
    if isinstance(value, dict):
        raise SerializationError


def _refuse(value: object, wanted: str) -> NoReturn:
    _refuse_list(value)
    _refuse_structure(value)
    if isinstance(value, bool):
        java = "java.lang.Boolean"
    elif isinstance(value, int | float):
        java = "java.math.BigDecimal"
    elif isinstance(value, str):
        java = "java.lang.String"
    else:
        java = "java.nio.HeapByteBuffer"
    raise SerializationError(f"class {java} can not be converted to {wanted}")
