"""What the pages under /docs show, read from the OpenAPI document: nothing stands on a page that is not in it."""

import re
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from app.api.openapi import document as described
from app.api.openapi import vocabulary as words
from app.service_model import service_model
from app.service_model.json_schema import REFERENCE, Schema
from app.services import operations


@dataclass(frozen=True, slots=True)
class Row:
    """A parameter, a member of an object, or a header; `note` says where it stands or that it is required."""

    name: str
    schema: Schema
    text: str
    required: bool = False
    place: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A response: its status, what it means, the codes of its problem or else the body."""

    status: str
    text: str
    body: Schema | None
    headers: tuple[str, ...]
    codes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API, or one message that it sends."""

    name: str
    method: str
    path: str
    title: str
    details: str
    parameters: tuple[Row, ...]
    bodies: tuple[tuple[str, Schema], ...]
    outcomes: tuple[Outcome, ...]
    open_to_all: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Calls that belong together."""

    name: str
    text: str
    calls: tuple[Call, ...]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of Rekognition."""

    name: str
    input: str
    output: str
    as_job: bool


def groups() -> list[Group]:
    """Give all calls and messages, in the order of the tags."""
    api = described.document()
    found: dict[str, list[Call]] = {tag["name"]: [] for tag in api["tags"]}
    for path, methods in (api["paths"] | api["webhooks"]).items():
        for method, call in methods.items():
            found[call["tags"][0]].append(_call(method, path, call))
    return [Group(tag["name"], tag["description"], tuple(found[tag["name"]])) for tag in api["tags"]]


def operation_rows() -> list[Operation]:
    """Give the operations with the names of their schemas."""
    models = [service_model().operation_model(name) for name in words.OPERATIONS]
    return [
        Operation(one.name, one.input_shape.name, one.output_shape.name, one.name in operations.IMAGE) for one in models
    ]


def schemas() -> dict[str, Schema]:
    """Give every schema that has a name, sorted."""
    found: dict[str, Schema] = described.document()["components"]["schemas"]
    return dict(sorted(found.items()))


def routes_with(code: str) -> list[Call]:
    """Give the calls that may meet a problem."""
    return [
        call for group in groups() for call in group.calls if any(code in outcome.codes for outcome in call.outcomes)
    ]


def members(schema: Schema) -> list[Row]:
    """Give the members of an object."""
    needed = schema.get("required", ())
    return [
        Row(name, member, member.get("description", ""), name in needed)
        for name, member in schema.get("properties", {}).items()
    ]


def _call(method: str, path: str, call: dict[str, Any]) -> Call:
    api = described.document()
    parameters = [_resolved(parameter) for parameter in call.get("parameters", ())]
    return Call(
        name=call["operationId"],
        method="" if path in api["webhooks"] else method.upper(),
        path="" if path in api["webhooks"] else path,
        title=call["summary"],
        details=call.get("description", ""),
        parameters=tuple(
            Row(one["name"], one["schema"], one["description"], one.get("required", False), one["in"])
            for one in parameters
        ),
        bodies=tuple(
            (kind, content["schema"]) for kind, content in call.get("requestBody", {}).get("content", {}).items()
        ),
        outcomes=tuple(_outcome(status, response) for status, response in call["responses"].items()),
        open_to_all=call.get("security") == [],
    )


def _outcome(status: str, response: dict[str, Any]) -> Outcome:
    body = next((content["schema"] for content in response.get("content", {}).values()), None)
    narrowed = body["allOf"][1]["properties"] if body is not None and "allOf" in body else {}
    codes = tuple(narrowed.get("code", {}).get("enum", ()))
    text = response["description"].partition(" [")[0]  # the codes that follow are shown as links
    return Outcome(status, text, body, tuple(response.get("headers", ())), codes)


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    *_, kind, name = part["$ref"].split("/")
    found: dict[str, Any] = described.document()["components"][kind][name]
    return found


def rich(text: str) -> Markup:
    """Write a description as HTML: code in backticks, links as Markdown has them, nothing else."""
    written = str(escape(text))
    written = re.sub(r"`([^`]+)`", r"<code>\1</code>", written)
    return Markup(re.sub(r"\[([^\]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', written))  # noqa: S704 - escaped above


def type_of(schema: Schema) -> Markup:
    """Write the type of a value in a few words, with links to schemas that have a name."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(REFERENCE)
        return Markup('<a href="#schema-{0}">{0}</a>').format(name)
    for choice in ("oneOf", "anyOf"):
        if choice in schema and "properties" not in schema:
            return _choice(schema[choice])
    if schema.get("type") == "array":
        return Markup("list of ") + type_of(schema["items"])
    if "const" in schema:
        return Markup("<code>{}</code>").format(schema["const"])
    return escape(_plain(schema))


def _choice(schemas: list[Schema]) -> Markup:
    if len(schemas) > _MANY:  # there is one for each operation
        return Markup('<a href="#operations">one of {}</a>').format(len(schemas))
    return Markup(" or ").join(type_of(one) for one in schemas)


def _plain(schema: Schema) -> str:
    names = schema.get("type", "anything")
    kind = " or ".join(names) if isinstance(names, list) else str(names)
    return f"{kind}, {schema['format']}" if schema.get("format") in _TELLING_FORMATS else kind


_MANY = 6
_TELLING_FORMATS = ("date-time", "uri", "uuid", "binary")

#: Words for limits: the least, the most, and of what.
_LIMITS = (
    ("minLength", "maxLength", "characters"),
    ("minItems", "maxItems", "items"),
    ("minProperties", "maxProperties", "members"),
    ("minimum", "maximum", ""),
)


def limits_of(schema: Schema) -> list[Markup]:
    """Write the limits of a value, one for each."""
    found = [_limit(schema.get(least), schema.get(most), of) for least, most, of in _LIMITS]
    if "contentEncoding" in schema:
        found.append(schema["contentEncoding"])
    if "default" in schema:
        found.append(f"default {schema['default']}")
    written = [escape(text) for text in found if text]
    if "enum" in schema:
        written.append(Markup(", ").join(Markup("<code>{}</code>").format(word) for word in schema["enum"]))
    if "pattern" in schema:
        written.append(Markup("<code>{}</code>").format(schema["pattern"]))
    if "items" in schema:
        written += [Markup("each ") + limit for limit in limits_of(schema["items"])]
    return written


def _limit(least: float | None, most: float | None, of: str) -> str:
    if (least is None or least <= 0) and (most is None or most >= 2**31 - 1):
        return ""  # whatever the type holds
    if most is None:
        return f"at least {least:,} {of}".strip()
    return (f"up to {most:,} {of}" if not least else f"{least:,} to {most:,} {of}").strip()
