"""A job's rules: its statuses, the legal transitions, its limits and what its webhook events are called.

The SQL in `app/db/jobs.py` enforces the transitions with guarded updates; this table is what its tests compare against.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """Where a job stands; clients branch on `Done`, because statuses may be added."""

    QUEUED = "QUEUED"  #: committed, waiting for a worker
    IN_PROGRESS = "IN_PROGRESS"  #: claimed by a worker that renews its lease
    SUCCEEDED = "SUCCEEDED"  #: the result is stored
    FAILED = "FAILED"  #: the error is stored
    CANCELED = "CANCELED"  #: the caller took it back
    EXPIRED = "EXPIRED"  #: no worker started it before its deadline


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELED, Status.EXPIRED}),
    # Back to QUEUED: the worker died, or a failure that may pass.
    Status.IN_PROGRESS: frozenset({Status.SUCCEEDED, Status.FAILED, Status.QUEUED, Status.CANCELED, Status.EXPIRED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}


class Lane(StrEnum):
    """Queues of doorbells; a bell says «there is work in this lane», never which."""

    INTERACTIVE = "interactive"  #: somebody waits
    BULK = "bulk"  #: nobody waits
    WEBHOOKS = "webhooks"  #: deliveries
    MAINTENANCE = "maintenance"  #: the sweeper's ticks


#: A claim that was not renewed for this long belongs to a dead worker. Workers renew every HEARTBEAT.
LEASE = timedelta(seconds=15)
HEARTBEAT = timedelta(seconds=3)

#: A job whose worker died this often is poison: it ends as FAILED instead of killing a fourth worker.
MAX_CRASHES = 3

#: Unexpected errors are tried again after these pauses, then the job fails. Errors of the caller are never tried again.
RETRY_PAUSES = (timedelta(seconds=1), timedelta(seconds=4))

#: A job that no worker started within this time expires.
START_DEADLINE = timedelta(minutes=10)

#: The doorbell for a queued job is rung again after this long, because Redis may have lost it.
RING_AGAIN = timedelta(seconds=2)


def event_type(status: Status) -> str:
    """Name the webhook event of a terminal status, as `job.succeeded`."""
    return f"job.{status.value.lower()}"


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one job: every heartbeat and the finish name this lease, and a newer claim voids it."""

    job_id: str
    lease: int
    attempt: int
    crashes: int  # attempts that ended with their worker, not with an error
    account_id: int
    operation: str
    input: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored; `error` holds Code, Message and Retryable."""

    job_id: str
    account_id: int
    operation: str
    collection: str | None
    status: Status
    attempt: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    caller_metadata: dict[str, str] | None
    webhook_url: str | None
    webhook_endpoint_id: uuid.UUID | None
    tells_endpoints: bool
    request_hash: bytes
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether the job has reached a status that never changes again."""
        return self.status in TERMINAL


def document(job: Job) -> dict[str, Any]:
    """Render a job as `GET /v1/jobs/{JobId}` and the webhook show it; absent members are left out."""
    members = {
        "JobId": job.job_id,
        "Operation": job.operation,
        "Status": job.status.value,
        "Done": job.done,
        "Attempt": job.attempt,
        "Result": job.result,
        "Error": job.error,
        "Metadata": job.caller_metadata,
        "CreatedAt": _iso(job.created_at),
        "StartedAt": _iso(job.started_at),
        "FinishedAt": _iso(job.finished_at),
        "ExpiresAt": _iso(job.expires_at),
        "Links": {"Self": f"/v1/jobs/{job.job_id}"},
    }
    return {name: value for name, value in members.items() if value is not None}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
