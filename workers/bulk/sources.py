"""List items from where a batch says they are, for a moment at a time, page by page.

What is read of S3 is bounded whatever the size of the source: a piece of a manifest, a thousand keys of a prefix. A cursor says
where the next page begins, so any worker may read it.
"""

import logging
import time
from datetime import timedelta
from typing import Any

from app.domain.batches import MAX_LINE_BYTES, PAGE, NewItem, external_id_of_key, image_member
from app.errors import InvalidParameter, S3Away, ServiceError, ServiceUnavailable
from app.services.batch_expansion import Listing, Page
from app.services.batch_intake import Intake, refused
from workers.runtime import Runtime

log = logging.getLogger(__name__)

#: A thread lists this long before it works on items again.
_LISTING_SECONDS = 1.0

#: A store that does not answer is asked again after a pause that doubles up to the longest, so often; that is nine hours, and
#: then the batch fails.
_FIRST_PAUSE = timedelta(seconds=15)
_LONGEST_PAUSE = timedelta(minutes=15)
_TRIES = 40

#: So much of a manifest is read at once; a line is shorter than that.
_PIECE_BYTES = 4 * MAX_LINE_BYTES


def list_some(runtime: Runtime) -> bool:
    """Write some pages of a batch that is to be listed; False where there is none."""
    listing = runtime.expansion.take(worker=runtime.worker)
    if listing is None:
        return False
    with runtime.batch_heartbeat.hold(listing):
        try:
            _list(listing, runtime)
        except ServiceUnavailable:
            raise
        except ServiceError as error:
            log.warning("batch_source_failed", extra={"batch_id": listing.batch.batch_id, "code": error.code})
            runtime.expansion.fail(listing, error)
    runtime.expansion.release(listing)
    return True


def _list(listing: Listing, runtime: Runtime) -> None:
    deadline = time.monotonic() + _LISTING_SECONDS
    going_on: Listing | None = listing
    while going_on is not None and time.monotonic() < deadline and not runtime.stopping.is_set():
        if runtime.batch_heartbeat.is_stopped(listing):
            break
        runtime.batch_heartbeat.advance(listing)
        listing = going_on
        try:
            going_on = runtime.expansion.add(listing, _page(listing, runtime))
        except ServiceError:
            raise
        except Exception as error:  # the edge of the process: a store that does not answer, or a fault of ours
            log.warning("batch_source_silent", exc_info=error, extra={"batch_id": listing.batch.batch_id})
            _postpone(listing, runtime)
            break


def _postpone(listing: Listing, runtime: Runtime) -> None:
    tries = (listing.batch.cursor or {}).get("Tries", 0) + 1
    if tries >= _TRIES:
        raise S3Away
    pause = min(_FIRST_PAUSE * 2 ** (tries - 1), _LONGEST_PAUSE)
    runtime.expansion.postpone(listing, tries=tries, pause=pause)


def _page(listing: Listing, runtime: Runtime) -> Page:
    source = listing.batch.source
    if "FailedItemsOf" in source:
        return runtime.expansion.failed_items(listing)
    if "S3Prefix" in source:
        return _keys(listing, source["S3Prefix"], runtime)
    if "Manifest" in source:
        return _manifest(listing, source["Manifest"]["S3Object"], runtime)
    raise InvalidParameter("The source of the batch is not known.")


def _keys(listing: Listing, place: dict[str, str], runtime: Runtime) -> Page:
    """Make items of the next keys under a prefix; names that end in a slash are folders."""
    after = (listing.batch.cursor or {}).get("After", "")
    keys, complete = runtime.store.list_keys(place["Bucket"], place["Prefix"], after=after, limit=PAGE)
    first = listing.batch.total + 1
    pictures = [key for key in keys if not key.endswith("/")]
    items = [_item(listing, first + index, place, key) for index, key in enumerate(pictures)]
    return Page(items, {"After": keys[-1] if keys else after}, complete)


def _item(listing: Listing, item_no: int, place: dict[str, str], key: str) -> NewItem:
    operation = listing.batch.operation
    input_: dict[str, Any] = {image_member(operation): {"S3Object": {"Bucket": place["Bucket"], "Name": key}}}
    if operation == "IndexFaces" and "ExternalImageId" not in listing.batch.defaults:
        input_["ExternalImageId"] = external_id_of_key(key, place.get("ExternalImageIdFrom", "KEY"))
    return NewItem(item_no, key, input_)


def _manifest(listing: Listing, place: dict[str, str], runtime: Runtime) -> Page:
    """Make items of the next lines of a manifest; it must stay as it was when it was first looked at."""
    cursor = {"Offset": 0, "Line": 1, **(listing.batch.cursor or {})}
    piece = runtime.store.read_piece(
        place["Bucket"], place["Name"], place.get("Version"), offset=cursor["Offset"], size=_PIECE_BYTES
    )
    if cursor.get("ETag", piece.etag) != piece.etag:
        raise InvalidParameter("The manifest was changed while its items were listed.")
    lines, used = _whole_lines(piece.content, is_end=cursor["Offset"] + len(piece.content) >= piece.total)
    intake = Intake(listing.batch.operation, listing.batch.defaults, runtime.settings.dial_allow)
    items: list[NewItem] = []
    for index, line in enumerate(lines):
        if line.strip():
            items.append(_of_line(intake, listing.batch.total + 1 + len(items), line, cursor["Line"] + index))
    offset = cursor["Offset"] + used
    after = {"Offset": offset, "Line": cursor["Line"] + len(lines), "ETag": piece.etag}
    return Page(items, after, complete=offset >= piece.total)


def _whole_lines(content: bytes, *, is_end: bool) -> tuple[list[bytes], int]:
    """Cut a page of lines off a piece; give them and how many bytes they are with their ends."""
    lines = content.split(b"\n")
    rest = lines.pop()  # what follows the last end of a line
    ends = len(lines)
    if is_end and rest:
        lines.append(rest)
    if not lines and not is_end:
        raise InvalidParameter(f"The manifest holds a line that is longer than {_PIECE_BYTES} bytes.")
    lines = lines[:PAGE]
    return lines, sum(map(len, lines)) + min(ends, len(lines))


def _of_line(intake: Intake, item_no: int, line: bytes, line_no: int) -> NewItem:
    if len(line) > MAX_LINE_BYTES:
        return refused(item_no, f"Line {line_no} is longer than {MAX_LINE_BYTES} bytes.")
    return intake.try_line(item_no, line, line_no)
