"""From what a caller wrote to an item that can be queued: the same checks whether it came inline, uploaded or from S3.

An item holds references to pictures, never pixels: a batch would keep millions of them in Postgres.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app import service_model
from app.domain.addresses import IPNetwork, Refused, parse_target
from app.domain.batches import MAX_CUSTOM_ID_BYTES, NewItem
from app.domain.images import IMAGE_MEMBERS, check_one_source
from app.errors import InvalidImageUrl, InvalidParameter, SerializationError, ServiceError, ValidationError
from app.service_model.reading import UNSTORABLE

_MEMBERS = ("CustomId", "Input")

#: What stands for the members that defaults leave to the items, so that the defaults alone can be checked.
_PLACEHOLDERS: dict[str, Any] = {
    "CollectionId": "placeholder",
    **{member: {"S3Object": {"Bucket": "placeholder", "Name": "placeholder"}} for member in IMAGE_MEMBERS},
}


@dataclass(frozen=True, slots=True)
class Intake:
    """Reads the items of one batch."""

    operation: str
    defaults: dict[str, Any]
    dial_allow: Sequence[IPNetwork]

    @classmethod
    def open(cls, operation: str, defaults: object, dial_allow: Sequence[IPNetwork]) -> "Intake":
        """Check what all items share; raise what is wrong with it."""
        if not isinstance(defaults, dict):
            raise ValidationError("Defaults must be a JSON object.")
        checked = service_model.check_input(operation, {**_PLACEHOLDERS, **defaults}, extensions=True)
        intake = cls(operation, {name: checked[name] for name in defaults if name in checked}, dial_allow)
        intake._check_images(checked)
        return intake

    def read(self, item_no: int, document: object) -> NewItem:
        """Check an item with the defaults in it; raise what is wrong with it."""
        if not isinstance(document, dict):
            raise SerializationError("An item must be a JSON object.")
        unknown = sorted(set(document) - set(_MEMBERS))
        if unknown:
            raise ValidationError(f"Unknown member {unknown[0][:64]}; known are {', '.join(_MEMBERS)}.")
        own = document.get("Input", {})
        if not isinstance(own, dict):
            raise SerializationError("Input must be a JSON object.")
        checked = service_model.check_input(self.operation, {**self.defaults, **own}, extensions=True)
        self._check_images(checked)
        if "CollectionId" in self.defaults and checked["CollectionId"] != self.defaults["CollectionId"]:
            raise ValidationError("An item may not name another CollectionId than Defaults does.")
        return NewItem(item_no, _custom_id(document.get("CustomId")), {n: checked[n] for n in own if n in checked})

    def read_line(self, item_no: int, line: bytes) -> NewItem:
        """Read an item from a line of JSON."""
        try:
            document = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise SerializationError("The line is not valid JSON.") from error
        return self.read(item_no, document)

    def try_line(self, item_no: int, line: bytes, line_no: int) -> NewItem:
        """Read an item from a line that nobody can be asked about any more: a wrong one becomes an item that failed."""
        try:
            return self.read_line(item_no, line)
        except ServiceError as error:
            return refused(item_no, f"Line {line_no}: {error.message}", error.code)

    def _check_images(self, checked: dict[str, Any]) -> None:
        for member in IMAGE_MEMBERS:
            if member not in checked:
                continue
            if "Bytes" in checked[member]:
                raise InvalidParameter(f"{member}.Bytes is not taken in a batch: name an S3Object or a Url.")
            check_one_source(checked[member])
            url = checked[member].get("Url")
            try:
                if url is not None:
                    parse_target(url, self.dial_allow)
            except Refused as error:
                raise InvalidImageUrl(str(error)) from error


def refused(
    item_no: int, message: str, code: str = ValidationError.code, input_: dict[str, Any] | None = None
) -> NewItem:
    """Make an item that never runs, because what was written of it is wrong."""
    return NewItem(item_no, None, input_ or {}, {"Code": code, "Message": message, "Retryable": False})


def _custom_id(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value or UNSTORABLE.search(value):
        raise ValidationError("CustomId must be a text.")
    if len(value.encode()) > MAX_CUSTOM_ID_BYTES:
        raise ValidationError(f"CustomId must be at most {MAX_CUSTOM_ID_BYTES} bytes long.")
    return value
