"""Small schemas that objects of our own API are put together from."""

from typing import Any

from app.service_model.json_schema import Schema, reference

MOMENT: Schema = {"type": "string", "format": "date-time"}
ID: Schema = {"type": "string", "format": "uuid"}
PATH: Schema = {"type": "string", "format": "uri-reference"}
FLAG: Schema = {"type": "boolean"}


def text(shortest: int = 0, longest: int | None = None, **more: Any) -> Schema:
    """A string of bounded length."""
    limits: Schema = {"minLength": shortest} if shortest else {}
    return {"type": "string", **limits, **({} if longest is None else {"maxLength": longest}), **more}


def whole(smallest: int = 0, largest: int | None = None, **more: Any) -> Schema:
    """A whole number within bounds."""
    return {"type": "integer", "minimum": smallest, **({} if largest is None else {"maximum": largest}), **more}


def one_of(words: list[str]) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": words}


def list_of(item: Schema, **more: Any) -> Schema:
    """A list."""
    return {"type": "array", "items": item, **more}


def said(schema: Schema, text: str) -> Schema:
    """Add what it means."""
    return {**schema, "description": text}


def answered(required: str, text: str = "", /, **members: Schema) -> Schema:
    """An object that we answer; members may be added in later versions."""
    return _object(required, text, members)


def taken(required: str, text: str = "", /, **members: Schema) -> Schema:
    """An object that we take; a member that it does not name is refused."""
    return {**_object(required, text, members), "additionalProperties": False}


def _object(required: str, text: str, members: dict[str, Schema]) -> Schema:
    needed = {"required": required.split()} if required else {}
    meaning = {"description": text} if text else {}
    return {"type": "object", **meaning, "properties": members, **needed}


def page_of(plural: str, name: str) -> Schema:
    """One page of a list, newest first."""
    more = said(text(), "Asks for the next page; absent on the last one.")
    return answered(plural, "Newest first.", **{plural: list_of(reference(name)), "NextToken": more})
