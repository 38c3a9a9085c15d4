"""From the service model's shapes to JSON Schema 2020-12, which OpenAPI 3.1 speaks.

Structures become definitions of their own and are referred to by name; everything else is written where it is used, with its
limits. What a schema refuses, the checks of an input refuse too; they alone know the patterns of tags.
"""

import html
import re
from collections.abc import Iterable
from typing import Any

from botocore.model import Shape

from app.service_model.reading import BITS

Schema = dict[str, Any]

#: Where definitions lie in an OpenAPI document.
REFERENCE = "#/components/schemas/"

_BOUNDS = {
    "string": ("minLength", "maxLength"),
    "blob": ("minLength", "maxLength"),
    "list": ("minItems", "maxItems"),
    "map": ("minProperties", "maxProperties"),
    "integer": ("minimum", "maximum"),
    "long": ("minimum", "maximum"),
    "float": ("minimum", "maximum"),
    "double": ("minimum", "maximum"),
}


def reference(name: str) -> Schema:
    """Refer to a definition."""
    return {"$ref": REFERENCE + name}


def definitions(shapes: Iterable[Shape]) -> dict[str, Schema]:
    """Define every structure among the shapes and below them, by name."""
    found: dict[str, Schema] = {}
    waiting = list(shapes)
    while waiting:
        shape = waiting.pop()
        if shape.type_name == "structure" and shape.name not in found:
            found[shape.name] = _structure(shape)
        waiting += [part for part in _parts(shape) if part.name not in found]
    return dict(sorted(found.items()))


def _parts(shape: Shape) -> list[Shape]:
    if shape.type_name == "structure":
        return list(shape.members.values())
    if shape.type_name == "list":
        return [shape.member]
    return [shape.key, shape.value] if shape.type_name == "map" else []


def _structure(shape: Shape) -> Schema:
    members = {name: _described(member, schema(member)) for name, member in shape.members.items()}
    required = {"required": list(shape.required_members)} if shape.required_members else {}
    return _described(shape, {"type": "object", "properties": members, **required})


def schema(shape: Shape) -> Schema:
    """Translate one shape; a structure becomes a reference."""
    if shape.type_name == "structure":
        return reference(shape.name)
    translated = {**_TYPES[shape.type_name], **_bounds(shape)}
    if shape.type_name == "list":
        translated["items"] = schema(shape.member)
    if shape.type_name == "map":
        translated |= {"propertyNames": schema(shape.key), "additionalProperties": schema(shape.value)}
    if "enum" in shape.metadata:
        translated["enum"] = list(shape.metadata["enum"])
    if "\\p{" not in shape.metadata.get("pattern", "\\p{"):  # categories of Unicode: many validators know none
        translated["pattern"] = _whole(shape.metadata["pattern"])
    return translated


_TYPES: dict[str, Schema] = {
    "string": {"type": "string"},
    "blob": {"type": "string", "contentEncoding": "base64", "format": "byte"},
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32"},
    "long": {"type": "integer", "format": "int64"},
    "float": {"type": "number", "format": "float"},
    "double": {"type": "number", "format": "double"},
    "timestamp": {"type": "number"},
    "list": {"type": "array"},
    "map": {"type": "object"},
}


def _bounds(shape: Shape) -> Schema:
    limits = {limit: shape.metadata[limit] for limit in ("min", "max") if limit in shape.metadata}
    if shape.type_name in BITS:  # numbers beyond the type's width are refused before their limits are looked at
        largest = 2 ** (BITS[shape.type_name] - 1) - 1
        limits = {"min": -largest, "max": largest} | limits
    if shape.type_name == "blob":  # the model counts bytes, the schema characters
        limits = {limit: -(-size // 3) * 4 for limit, size in limits.items()}
    names = dict(zip(("min", "max"), _BOUNDS.get(shape.type_name, ()), strict=False))
    return {names[limit]: size for limit, size in limits.items()}


def _whole(pattern: str) -> str:
    """Anchor a pattern: the model's hold for the whole value, a schema's for any part of it."""
    return pattern if pattern.startswith("^") and pattern.endswith("$") else f"^(?:{pattern})$"


def _described(shape: Shape, translated: Schema) -> Schema:
    text = _first_sentence(shape.documentation)
    if shape.type_name == "timestamp":  # the model's texts speak of milliseconds, which no SDK reads
        text = "Seconds since 1970-01-01T00:00:00Z, with a fraction."
    return {**translated, "description": text} if text else translated


def _first_sentence(documentation: str) -> str:
    """Take the first sentence of the model's HTML; the rest tells of consoles and prices that are not ours."""
    paragraph = re.split(r"</p>|<note>|<ul>", documentation, maxsplit=1)[0]
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", "", paragraph)).split())
    sentence = re.split(r"(?<=[.!?]) (?=[A-Z])", text, maxsplit=1)[0]
    return sentence.removeprefix("(Optional) ").replace("Amazon Rekognition", "the service")
