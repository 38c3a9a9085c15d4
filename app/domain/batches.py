"""A batch's rules: one operation over many items, its statuses, its limits, and how it is shown.

Items end one by one and each keeps its result; the batch ends when nothing of it is left to do, and then never changes.
"""

import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any

from app.domain.jobs import iso


class BatchStatus(StrEnum):
    """Where a batch stands; clients branch on `Done`, because statuses may be added."""

    UPLOADING = "UPLOADING"  #: its items are being received; none is started before all are there
    EXPANDING = "EXPANDING"  #: its items are being listed; those that are known are worked on
    IN_PROGRESS = "IN_PROGRESS"  #: all its items are known
    SUCCEEDED = "SUCCEEDED"  #: every item has ended, some of them perhaps in an error
    FAILED = "FAILED"  #: its items could not be read to the end
    CANCELED = "CANCELED"  #: the caller took it back; what had ended by then is kept


#: How a batch is shown that waits to be resumed.
PAUSED = "PAUSED"

DONE = frozenset({BatchStatus.SUCCEEDED, BatchStatus.FAILED, BatchStatus.CANCELED})

#: The one event of a batch.
COMPLETED = "batch.completed"

MAX_ITEMS = 10_000_000
MAX_INLINE_ITEMS = 10_000
MAX_LINE_BYTES = 64 * 1024
MAX_CUSTOM_ID_BYTES = 1024
MAX_OPEN_BATCHES = 200  #: of one account

#: Lines of results that one answer has at most: a thread writes them as long as its reader takes.
MAX_LINES = 10_000

#: Items that one transaction writes, lists or cancels.
PAGE = 1000

#: Items that a worker claims at once. They end together, so this is also what a dead worker leaves to be done again.
CHUNK = 16

_ILLEGAL_IN_EXTERNAL_ID = re.compile(r"[^a-zA-Z0-9_.\-:]")
_MAX_EXTERNAL_ID = 255


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as stored, with its counts; `error` holds Code, Message and Retryable."""

    batch_id: str
    account_id: int
    operation: str
    defaults: dict[str, Any]
    source: dict[str, Any]
    cursor: dict[str, Any] | None
    region: str | None
    status: BatchStatus
    total: int
    running: int
    succeeded: int
    failed: int
    canceled: int
    request_hash: bytes | None
    caller_metadata: dict[str, str] | None
    actor: dict[str, str] | None  # who submitted it
    webhook_url: str | None
    webhook_endpoint_id: uuid.UUID | None
    tells_endpoints: bool
    retry_of: uuid.UUID | None
    error: dict[str, Any] | None
    rate: float | None
    created_at: datetime
    started_at: datetime | None
    paused_at: datetime | None
    stopped_at: datetime | None
    cut_short: bool
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether the batch has reached a status that never changes again."""
        return self.status in DONE

    @property
    def ended(self) -> int:
        """How many items have ended, in whatever way."""
        return self.succeeded + self.failed + self.canceled

    @property
    def lacks_some(self) -> bool:
        """Whether items of it never ran, because it was stopped: those that were canceled, or were not even listed."""
        return self.canceled > 0 or self.cut_short

    @property
    def halted(self) -> bool:
        """Whether no further item may be started, for now or for good."""
        return self.done or self.paused_at is not None or self.stopped_at is not None


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item that is to be written: its own input, or the error for which it never runs."""

    item_no: int
    custom_id: str | None
    input: dict[str, Any]
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A claimed item; its input has the batch's defaults in it."""

    item_no: int
    attempt: int
    crashes: int  # attempts that ended with their worker, not with an error
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The right to run some items of a batch: every heartbeat and every ending names this lease."""

    batch_id: str
    lease: int
    account_id: int
    operation: str
    region: str | None
    actor: dict[str, str] | None  # who submitted the batch
    items: tuple[Item, ...]

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other chunk."""
        return self.batch_id, self.lease


def image_member(operation: str) -> str:
    """Name the member of an operation's input that differs from item to item."""
    return "TargetImage" if operation == "CompareFaces" else "Image"


#: What of an object's key becomes its ExternalImageId: all of it, or the name at its end without suffix.
EXTERNAL_ID_FROM = ("KEY", "NAME")


def external_id_of_key(key: str, rule: str) -> str:
    """Make the ExternalImageId of an object by one of these rules."""
    return legal_external_id(key if rule == "KEY" else PurePosixPath(key).stem)


def legal_external_id(key: str) -> str:
    """Make an ExternalImageId of an object's key: its end, a colon for a slash, an underscore for what is not allowed."""
    return _ILLEGAL_IN_EXTERNAL_ID.sub("_", key.replace("/", ":"))[-_MAX_EXTERNAL_ID:]


def document(batch: Batch) -> dict[str, Any]:
    """Render a batch as `GET /v1/batches/{BatchId}` and the webhook show it; absent members are left out."""
    members = {
        "BatchId": batch.batch_id,
        "Operation": batch.operation,
        "Status": PAUSED if batch.paused_at is not None and not batch.done else batch.status.value,
        "Done": batch.done,
        "Counts": _counts(batch),
        "Progress": {"Done": batch.ended, "Total": batch.total},
        "RatePerSecond": _rate(batch),
        "EtaSeconds": _eta_seconds(batch),
        "Source": batch.source,
        "Defaults": batch.defaults or None,
        "Error": batch.error,
        "Metadata": batch.caller_metadata,
        "RetryOf": None if batch.retry_of is None else str(batch.retry_of),
        "CreatedAt": iso(batch.created_at),
        "StartedAt": iso(batch.started_at),
        "PausedAt": None if batch.done else iso(batch.paused_at),
        "CancelRequestedAt": iso(batch.stopped_at) if batch.error is None else None,
        "FinishedAt": iso(batch.finished_at),
        "ExpiresAt": iso(batch.expires_at),
        "Links": _links(batch),
    }
    return {name: value for name, value in members.items() if value is not None}


def _counts(batch: Batch) -> dict[str, int]:
    return {
        "Total": batch.total,
        "Queued": batch.total - batch.running - batch.ended,
        "InProgress": batch.running,
        "Succeeded": batch.succeeded,
        "Failed": batch.failed,
        "Canceled": batch.canceled,
    }


def _rate(batch: Batch) -> float | None:
    return None if batch.rate is None or batch.done else round(batch.rate, 2)


def _eta_seconds(batch: Batch) -> int | None:
    """Estimate when the items that are known now will have ended; None where nothing moves or the rate is not known."""
    if not batch.rate or batch.halted:
        return None
    return round((batch.total - batch.ended) / batch.rate)


def _links(batch: Batch) -> dict[str, str]:
    own = f"/v1/batches/{batch.batch_id}"
    links = {"Self": own, "Results": f"{own}/results", "Failures": f"{own}/failures"}
    if not batch.done:
        links |= {"Cancel": f"{own}/cancel"}
        links |= {"Pause": f"{own}/pause"} if batch.paused_at is None else {"Resume": f"{own}/resume"}
    elif batch.failed:
        links |= {"RetryFailed": f"{own}/retry-failed"}
    return links
