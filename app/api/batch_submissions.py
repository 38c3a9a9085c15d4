"""Read a submission of POST /v1/batches: a JSON object, or lines of JSON that are read as they come."""

import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from flask import request

from app.api import auth, submissions
from app.api.context import Context
from app.domain.batches import EXTERNAL_ID_FROM, MAX_INLINE_ITEMS, MAX_LINE_BYTES, NewItem
from app.domain.caller import Caller
from app.domain.schedules import BUCKET
from app.errors import SerializationError, ServiceError, ValidationError
from app.service_model.reading import UNSTORABLE
from app.services import operations
from app.services.batch_intake import Intake
from app.services.batches import NewBatch

LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines")

_SOURCES = ("Items", "Manifest", "S3Prefix")
_SHARED = ("Operation", "Defaults", "Webhook", "ClientRequestToken", "Metadata")
_PIECE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Submitted:
    """A batch to be, how its items are read, and those that came along."""

    new: NewBatch
    intake: Intake
    inline: list[NewItem] | None


def read(caller: Caller, shared: Context, body: bytes) -> Submitted:
    """Read a JSON object as a batch of this caller; raises what is wrong with it."""
    members = _object(body, "The request body")
    found = [name for name in _SOURCES if name in members]
    if len(found) != 1:
        raise ValidationError("A batch names one source of its items: Items, Manifest or S3Prefix.")
    submitted = _read_shared(caller, shared, members, (*_SHARED, *_SOURCES))
    if found == ["Items"]:
        inline = _inline(submitted.intake, members["Items"])
        return replace(submitted, new=replace(submitted.new, source={"Items": len(inline)}), inline=inline)
    return replace(submitted, new=replace(submitted.new, source=_source(found[0], members[found[0]])))


def read_lines(
    caller: Caller, shared: Context, stream: io.BufferedReader
) -> tuple[Submitted, Iterator[tuple[int, bytes]]]:
    """Read what the items of an upload share, from its first line or from the query; give the numbered lines of the items."""
    first = _line(stream)
    members = _header(first)
    lines: Iterator[tuple[int, bytes]] = enumerate(_lines(stream), start=2)
    if members is None:
        members = {name: request.args[name] for name in ("Operation", "ClientRequestToken") if name in request.args}
        if "Defaults" in request.args:
            members["Defaults"] = _object(request.args["Defaults"], "Defaults")
        lines = _after(first, lines)
    submitted = _read_shared(caller, shared, members, _SHARED)
    return replace(submitted, new=replace(submitted.new, source={"Upload": {}})), lines


def _read_shared(caller: Caller, shared: Context, members: dict[str, Any], known: Iterable[str]) -> Submitted:
    unknown = sorted(set(members) - set(known))
    if unknown:
        raise ValidationError(f"Unknown member {unknown[0][:64]}; known are {', '.join(sorted(known))}.")
    operation = members.get("Operation")
    if not isinstance(operation, str) or operation not in operations.IMAGE:
        raise ValidationError(f"Operation must be one of {', '.join(sorted(operations.IMAGE))}.")
    intake = Intake.open(operation, members.get("Defaults", {}), shared.settings.dial_allow)
    auth.authorize_batch(caller, operation, intake.defaults)
    url, endpoint_id = submissions.read_webhook(members.get("Webhook"), shared)
    new = NewBatch(
        account_id=caller.account_id,
        operation=operation,
        defaults=intake.defaults,
        region=caller.region,
        actor=caller.actor,
        idempotency_key=submissions.idempotency_key(members.get("ClientRequestToken")),
        webhook_url=url,
        webhook_endpoint_id=endpoint_id,
        tells_endpoints=url is None and endpoint_id is None,
        caller_metadata=submissions.read_metadata(members.get("Metadata")),
    )
    return Submitted(new, intake, None)


def _inline(intake: Intake, documents: object) -> list[NewItem]:
    if not isinstance(documents, list) or not 1 <= len(documents) <= MAX_INLINE_ITEMS:
        raise ValidationError(f"Items must be a list of 1 to {MAX_INLINE_ITEMS} items; more can be uploaded as lines.")
    inline: list[NewItem] = []
    for item_no, document in enumerate(documents, start=1):
        try:
            inline.append(intake.read(item_no, document))
        except ServiceError as error:
            error.message = f"Item {item_no}: {error.message}"
            raise
    return inline


def _source(kind: str, value: object) -> dict[str, Any]:
    """Check where items are to be listed from, and give it with known members alone."""
    if kind == "Manifest":
        s3_object = value.get("S3Object") if isinstance(value, dict) and len(value) == 1 else None
        place = _texts(s3_object, ("Bucket", "Name"), ("Version",))
        if place is None:
            raise ValidationError('Manifest must be {"S3Object": {"Bucket": "...", "Name": "..."}}.')
        _check_bucket(place["Bucket"])
        return {"Manifest": {"S3Object": place}}
    place = _texts(value, ("Bucket",), ("Prefix", "ExternalImageIdFrom"))
    if place is None:
        raise ValidationError('S3Prefix must be {"Bucket": "...", "Prefix": "..."}.')
    _check_bucket(place["Bucket"])
    if place.get("ExternalImageIdFrom", "KEY") not in EXTERNAL_ID_FROM:
        raise ValidationError(f"ExternalImageIdFrom must be one of {', '.join(EXTERNAL_ID_FROM)}.")
    return {"S3Prefix": {"Prefix": "", **place}}


def _check_bucket(name: str) -> None:
    if not BUCKET.fullmatch(name):
        raise ValidationError("Bucket must be the name of an S3 bucket.")


def _texts(value: object, required: tuple[str, ...], optional: tuple[str, ...]) -> dict[str, str] | None:
    if not isinstance(value, dict) or not set(required) <= set(value) <= {*required, *optional}:
        return None
    if not all(isinstance(text, str) and len(text) <= 1024 and not UNSTORABLE.search(text) for text in value.values()):
        return None
    return dict(value) if all(value[name] for name in required) else None


def _header(line: bytes) -> dict[str, Any] | None:
    """Read the first line as what all items share; None where it is an item already."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and "Operation" in value else None


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{what} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise SerializationError(f"{what} must be a JSON object.")
    return value


def _line(stream: io.BufferedReader) -> bytes:
    return stream.readline(MAX_LINE_BYTES + 1)


def _lines(stream: io.BufferedReader) -> Iterator[bytes]:
    while line := _line(stream):
        yield line


def _after(first: bytes, lines: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield 1, first
    yield from lines
