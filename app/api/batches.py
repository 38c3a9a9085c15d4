"""/v1/batches: one operation over many items. Submit, look, pause, resume, cancel, read what has ended, retry what failed."""

import contextlib
import io
import json
import time
from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response, request

from app.api import auth, batch_submissions, submissions
from app.api.context import Context, context
from app.api.documents import answer, read_members, read_page
from app.api.errors import problem
from app.api.upload_slots import UploadSlots
from app.db.session import Row
from app.domain.batches import MAX_LINES, Batch, document
from app.domain.caller import Caller
from app.errors import AccessDenied, BatchNotFound, ServiceError, ValidationError
from app.services import batch_audit, batch_results, batches
from app.services.batch_uploads import Uploads

blueprint = Blueprint("batches", __name__, url_prefix="/v1/batches")

#: So much of a refused upload is read and dropped, and for so long.
_MAX_DROPPED_BYTES = 64 * 1024 * 1024
_DROP_SECONDS = 15.0

_RETRY_SECONDS = "2"

_uploads = UploadSlots(8, most_of_account=2)


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("")
def submit() -> Response:
    """Commit a batch and answer 202; its items come along, as lines that follow, or are listed by the workers."""
    shared = context()
    auth.require_credentials(request)
    if request.mimetype in batch_submissions.LINES:
        return _accepted(*_upload(shared))
    body = request.get_data()
    submitted = batch_submissions.read(auth.caller(request, body, shared), shared, body)
    return _accepted(*batches.submit(shared.database, shared.doorbell, submitted.new, submitted.inline))


def _upload(shared: Context) -> tuple[Batch, bool]:
    caller, stream = _open(shared)
    with _uploads.take(caller.account_id):
        try:
            submitted, lines = batch_submissions.read_lines(caller, shared, stream)
            uploads = Uploads(shared.database, shared.doorbell, shared.batch_outcomes)
            return uploads.receive(submitted.new, submitted.intake, lines)
        except ServiceError:
            _drop(stream)
            raise


def _drop(stream: io.BufferedReader) -> None:
    """Read on for a while: many clients see an answer only after they sent all."""
    left, deadline = _MAX_DROPPED_BYTES, time.monotonic() + _DROP_SECONDS
    with contextlib.suppress(OSError):  # it broke off
        while left > 0 and time.monotonic() < deadline and (piece := stream.read1(65536)):
            left -= len(piece)


def _open(shared: Context) -> tuple[Caller, io.BufferedReader]:
    """Admit a caller and give the body; with a signature, which covers all of it, it is read whole and bounded as any."""
    if not auth.has_token(request):
        body = request.get_data()
        return auth.caller(request, body, shared), io.BufferedReader(io.BytesIO(body))
    caller = auth.caller(request, b"", shared)
    request.max_content_length = shared.settings.max_upload_megabytes * 1024 * 1024
    return caller, io.BufferedReader(request.stream)  # type: ignore[arg-type]  # a RawIOBase, typed IO


def _accepted(batch: Batch, replayed: bool) -> Response:
    shown = answer(document(batch), 202, Location=f"/v1/batches/{batch.batch_id}", Retry_After=_RETRY_SECONDS)
    if replayed:
        shown.headers["Idempotency-Replayed"] = "true"
    return shown


@blueprint.get("")
def list_page() -> Response:
    """List the account's batches, newest first."""
    shared, caller = _admit(b"")
    page = read_page("Batches")
    found = batches.list_page(shared.database, caller.account_id, before=page.before, limit=page.limit)
    shown = page.show([document(batch) for batch in found], "BatchId")
    hidden = {batch.batch_id for batch in found if not _may_see(caller, batch)}
    return answer(shown | {"Batches": [one for one in shown["Batches"] if one["BatchId"] not in hidden]})


@blueprint.get("/<batch_id>")
def show(batch_id: str) -> Response:
    """Show how far a batch is."""
    _, _, batch = _find(batch_id)
    shown = answer(document(batch))
    if not batch.done:
        shown.headers["Retry-After"] = _RETRY_SECONDS
    return shown


@blueprint.get("/<batch_id>/results")
def results(batch_id: str) -> Response:
    """Stream the items that have ended, as lines of JSON in the order of their endings."""
    return _stream(batch_id, failed=False)


@blueprint.get("/<batch_id>/failures")
def failures(batch_id: str) -> Response:
    """Stream the items that failed, as lines of JSON in the order of their endings."""
    return _stream(batch_id, failed=True)


def _stream(batch_id: str, *, failed: bool) -> Response:
    shared, caller, batch = _find(batch_id)
    after, most = _number("after", least=0) or 0, min(_number("MaxResults", least=1) or MAX_LINES, MAX_LINES)
    until = batch_results.readable_until(shared.database, batch, after=after, most=most, failed=failed)
    batch_audit.note_reading(shared.database, batch, caller.actor)
    found = batch_results.read_ended(shared.database, batch, after=after, until=until, failed=failed)
    streamed = Response(_lines(found), content_type="application/x-ndjson")
    streamed.headers["Next-After"] = str(
        until
    )  # what a reader asks for next; the batch is done when its status says so
    streamed.headers["Batch-Status"] = document(batch)["Status"]
    streamed.headers["Cache-Control"] = "no-store"
    return streamed


def _lines(found: Iterator[Row]) -> Iterator[str]:
    for row in found:
        members: dict[str, Any] = {
            "Item": row.item_no,
            "CustomId": row.custom_id,
            "Status": row.status,
            "Result": row.result,
            "Error": row.error,
            "Attempt": row.attempt or None,
            "Cursor": row.ended_no,
        }
        yield json.dumps({name: value for name, value in members.items() if value is not None}) + "\n"


def _number(name: str, *, least: int) -> int | None:
    value = request.args.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 12 and int(value) >= least):
        raise ValidationError(f"{name} must be a whole number, {least} or more.")
    return int(value)


@blueprint.post("/<batch_id>/cancel")
def cancel(batch_id: str) -> Response:
    """Take a batch back; what has ended is kept. 200 when it has ended, 202 while items still run or are canceled."""
    shared, caller, batch = _find(batch_id)
    canceled = shared.batch_outcomes.cancel(caller.account_id, batch.batch_id, caller.actor)
    if canceled is None:  # purged between the two looks
        raise BatchNotFound(batch_id)
    return answer(document(canceled), 200 if canceled.done else 202)


@blueprint.post("/<batch_id>/pause")
def pause(batch_id: str) -> Response:
    """Let no further item be started."""
    shared, caller, batch = _find(batch_id)
    return answer(document(batches.pause(shared.database, batch, caller.actor)))


@blueprint.post("/<batch_id>/resume")
def resume(batch_id: str) -> Response:
    """Let items be started again."""
    shared, caller, batch = _find(batch_id)
    return answer(document(batches.resume(shared.database, shared.doorbell, batch, caller.actor)))


@blueprint.post("/<batch_id>/retry-failed")
def retry_failed(batch_id: str) -> Response:
    """Submit what failed of a batch once more, as a new one."""
    shared, caller, batch = _find(batch_id)
    key = submissions.idempotency_key(None)
    retried = batches.retry_failed(shared.database, shared.doorbell, batch, idempotency_key=key, actor=caller.actor)
    return _accepted(*retried)


def _admit(body: bytes) -> tuple[Context, Caller]:
    shared = context()
    auth.require_credentials(request)
    return shared, auth.caller(request, body, shared)


def _find(batch_id: str) -> tuple[Context, Caller, Batch]:
    """Find a batch that the caller may see; what is posted to one carries no members."""
    shared, caller = _admit(request.get_data())
    if request.method == "POST":
        read_members()
    batch = batches.get(shared.database, caller.account_id, batch_id)
    auth.authorize_batch(caller, batch.operation, batch.defaults)
    return shared, caller, batch


def _may_see(caller: Caller, batch: Batch) -> bool:
    try:
        auth.authorize_batch(caller, batch.operation, batch.defaults)
    except AccessDenied:
        return False
    return True
