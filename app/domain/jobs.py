"""A job's rules: its statuses, the legal transitions, its limits and what its webhook events are called.

The SQL in `app/db` enforces the transitions with guarded updates, and Postgres itself refuses to change a job that has ended;
this table is what tests compare against.
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

#: What a caller may have done once more; it becomes a new job.
RETRIABLE = frozenset({Status.FAILED, Status.CANCELED, Status.EXPIRED})

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.IN_PROGRESS, Status.CANCELED, Status.EXPIRED}),
    # Back to QUEUED: the worker died, or a failure that may pass.
    Status.IN_PROGRESS: frozenset({Status.SUCCEEDED, Status.FAILED, Status.QUEUED, Status.CANCELED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}


#: Jobs, and items, that a worker has under way for every picture it looks at: a look takes some 35 ms, so a store that answers
#: after 100 ms keeps three of them waiting.
SLOTS_PER_CORE = 4


class Lane(StrEnum):
    """Queues of doorbells; a bell says «there is work in this lane», never which."""

    INTERACTIVE = "interactive"  #: somebody waits
    BULK = "bulk"  #: nobody waits
    WEBHOOKS = "webhooks"  #: deliveries
    MAINTENANCE = "maintenance"  #: the sweeper's ticks


class Priority(StrEnum):
    """How urgent a job is among those of its account; accounts take turns whatever their priorities."""

    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"  #: the bulk lane: whoever is free does interactive work first; refused first under load

    @property
    def lane(self) -> Lane:
        """The lane that the job waits in."""
        return Lane.BULK if self is Priority.LOW else Lane.INTERACTIVE

    @property
    def rank(self) -> int:
        """The order within the lane; higher goes first."""
        return 1 if self is Priority.HIGH else 0


#: A claim that was not renewed for this long belongs to a dead worker. Workers renew every HEARTBEAT.
LEASE = timedelta(seconds=15)
HEARTBEAT = timedelta(seconds=3)

#: A job whose worker died this often is poison: it ends as FAILED instead of killing a fourth worker. The first death may be a
#: neighbour's doing; before the others it was alone in its process.
MAX_CRASHES = 3


class Company(StrEnum):
    """In whose company a job, an item of a batch or a page of a reprocess runs in its process."""

    BESIDE = "BESIDE"  #: beside others
    ALONE = "ALONE"  #: a worker died while it was under way


#: Unexpected errors are tried again after these pauses, then the job fails. Errors of the caller are never tried again.
RETRY_PAUSES = (timedelta(seconds=1), timedelta(seconds=4))

#: A picture whose store or server is away is fetched again after these pauses where nobody waits for it (the bulk lane): an
#: outage of half an hour loses none. Whoever waits is told at once, and that he may try again.
FETCH_PAUSES = tuple(timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 1800))

#: A job that no worker started within this time expires; a caller may set another deadline, up to a day away.
START_DEADLINE = {Lane.INTERACTIVE: timedelta(minutes=10), Lane.BULK: timedelta(hours=24)}
LONGEST_DEADLINE = timedelta(hours=24)

#: The doorbell for a queued job is rung again after this long, because Redis may have lost it.
RING_AGAIN = timedelta(seconds=2)

#: A queue position is counted up to here; it is an estimate, because accounts take turns.
LAST_POSITION = 10_000


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
    region: str | None  # that the caller signed for
    lane: Lane

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other claim."""
        return self.job_id, self.lease


@dataclass(frozen=True, slots=True)
class Job:
    """A job as stored; `error` holds Code, Message and Retryable."""

    job_id: str
    account_id: int
    operation: str
    subject: dict[str, Any]  # the members of the input that say what it is about, and so who may see it
    lane: str
    priority: int
    status: Status
    attempt: int
    result: dict[str, Any] | None
    error: dict[str, Any] | None
    caller_metadata: dict[str, str] | None
    actor: dict[str, str] | None  # who submitted it
    webhook_url: str | None
    webhook_endpoint_id: uuid.UUID | None
    tells_endpoints: bool
    retry_of: uuid.UUID | None
    request_hash: bytes
    created_at: datetime
    available_at: datetime
    start_deadline_at: datetime
    started_at: datetime | None
    cancel_requested_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None

    @property
    def done(self) -> bool:
        """Whether the job has reached a status that never changes again."""
        return self.status in TERMINAL


def document(job: Job, *, with_result: bool = True, position: int | None = None) -> dict[str, Any]:
    """Render a job as `GET /v1/jobs/{JobId}` and the webhook show it; absent members are left out."""
    members = {
        "JobId": job.job_id,
        "Operation": job.operation,
        "Status": job.status.value,
        "Done": job.done,
        "Attempt": job.attempt,
        "Priority": priority(job).value,
        "Progress": {"Done": int(job.status is Status.SUCCEEDED), "Total": 1},
        "QueuePosition": position,
        "Result": job.result if with_result else None,
        "Error": job.error,
        "Metadata": job.caller_metadata,
        "RetryOf": None if job.retry_of is None else str(job.retry_of),
        "CreatedAt": iso(job.created_at),
        "DeadlineAt": iso(job.start_deadline_at),
        "StartedAt": iso(job.started_at),
        "CancelRequestedAt": iso(job.cancel_requested_at),
        "FinishedAt": iso(job.finished_at),
        "ExpiresAt": iso(job.expires_at),
        "Links": _links(job),
    }
    return {name: value for name, value in members.items() if value is not None}


def priority(job: Job) -> Priority:
    """Give the priority that a job was submitted with."""
    if job.lane == Lane.BULK:
        return Priority.LOW
    return Priority.HIGH if job.priority > 0 else Priority.NORMAL


def _links(job: Job) -> dict[str, str]:
    links = {"Self": f"/v1/jobs/{job.job_id}", "Deliveries": f"/v1/webhooks/deliveries?JobId={job.job_id}"}
    if not job.done:
        links["Cancel"] = f"{links['Self']}/cancel"
    if job.status in RETRIABLE:
        links["Retry"] = f"{links['Self']}/retry"
    return links


def iso(moment: datetime | None) -> str | None:
    """Write a time as RFC 3339 in UTC, to the millisecond."""
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
