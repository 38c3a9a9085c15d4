"""Webhook deliveries as their log shows them, and what a caller may ask of the log."""

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.domain.endpoints import read_event_types
from app.domain.jobs import iso
from app.domain.webhook_events import TYPES
from app.errors import ValidationError

STATUSES = ("PENDING", "SUCCEEDED", "FAILED")

#: Attempts that one delivery shows at most, the newest ones.
MAX_SHOWN_ATTEMPTS = 100

MAX_REPLAY_RANGE = timedelta(days=14)
MAX_REPLAYED = 10_000  #: deliveries that one call makes pending again at most

# Years beyond these would be refused by one of the many parts that a moment passes through.
_RFC_3339 = re.compile(
    r"2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The sending of one event to one receiver, as stored."""

    delivery_id: str
    event_id: str
    event_type: str
    job_id: str | None
    endpoint_id: str | None  # none: to a job's own URL
    url: str
    status: str
    attempts: int
    next_attempt_at: datetime | None  # none: its endpoint is disabled
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try, as stored; one without an outcome is under way, or its courier died."""

    attempt: int
    trigger: str
    started_at: datetime
    status_code: int | None
    error_kind: str | None
    error: str | None
    milliseconds: int | None
    address: str | None
    answer: bytes | None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which deliveries a list shows; nothing means all."""

    endpoint_id: uuid.UUID | None = None
    status: str | None = None
    event_type: str | None = None
    job_id: uuid.UUID | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """Which deliveries of an endpoint are made again: those created in [since, until)."""

    since: datetime
    until: datetime
    event_types: list[str] | None
    only_failed: bool


def document(delivery: Delivery, attempts: Sequence[Attempt] | None = None) -> dict[str, Any]:
    """Render a delivery, with its attempts where they were read; absent members are left out."""
    path = f"/v1/webhooks/deliveries/{delivery.delivery_id}"
    members = {
        "DeliveryId": delivery.delivery_id,
        "EventId": delivery.event_id,
        "EventType": delivery.event_type,
        "JobId": delivery.job_id,
        "EndpointId": delivery.endpoint_id,
        "Url": delivery.url,
        "Status": delivery.status,
        "Attempts": delivery.attempts,
        "NextAttemptAt": iso(delivery.next_attempt_at) if delivery.status == "PENDING" else None,
        "CreatedAt": iso(delivery.created_at),
        "FinishedAt": iso(delivery.finished_at),
        "AttemptLog": None if attempts is None else [_attempt_document(attempt) for attempt in attempts],
        "Links": {"Self": path, "Redeliver": f"{path}/redeliver"},
    }
    return {name: value for name, value in members.items() if value is not None}


def _attempt_document(attempt: Attempt) -> dict[str, Any]:
    members = {
        "Attempt": attempt.attempt,
        "Trigger": attempt.trigger,
        "StartedAt": iso(attempt.started_at),
        "StatusCode": attempt.status_code,
        "ErrorKind": attempt.error_kind,
        "Error": attempt.error,
        "Milliseconds": attempt.milliseconds,
        "Address": attempt.address,
        "Answer": None if attempt.answer is None else attempt.answer.decode(errors="replace"),
    }
    return {name: value for name, value in members.items() if value is not None}


def read_filter(arguments: Mapping[str, str]) -> Filter:
    """Check what a list is asked to show; raises ValidationError."""
    return Filter(
        endpoint_id=_id(arguments, "EndpointId"),
        status=_choice(arguments, "Status", STATUSES),
        event_type=_choice(arguments, "EventType", TYPES),
        job_id=_id(arguments, "JobId"),
    )


def _id(arguments: Mapping[str, str], name: str) -> uuid.UUID | None:
    if name not in arguments:
        return None
    try:
        return uuid.UUID(arguments[name])
    except ValueError as error:
        raise ValidationError(f"{name} must be an id as an answer shows it.") from error


def _choice(arguments: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    value = arguments.get(name)
    if value is not None and value not in choices:
        raise ValidationError(f"{name} must be one of {', '.join(choices)}.")
    return value


#: What `read_replay` knows.
REPLAY_MEMBERS = ("Since", "Until", "EventTypes", "OnlyFailed")


def read_replay(members: Mapping[str, Any], now: datetime) -> Replay:
    """Check what is to be sent again; without an end it goes up to `now`. Raises ValidationError."""
    since, until = read_moment(members.get("Since"), "Since"), now
    if members.get("Until") is not None:
        until = read_moment(members["Until"], "Until")
    if not timedelta() < until - since <= MAX_REPLAY_RANGE:
        raise ValidationError(f"Since must be before Until, by at most {MAX_REPLAY_RANGE.days} days.")
    types, only_failed = members.get("EventTypes"), members.get("OnlyFailed", True)
    if not isinstance(only_failed, bool):
        raise ValidationError("OnlyFailed must be true or false.")
    return Replay(since, until, None if types is None else read_event_types(types), only_failed)


def read_moment(value: object, name: str) -> datetime:
    """Read a time with its zone, or raise ValidationError."""
    refused = ValidationError(f"{name} must be a time such as 2026-01-31T12:00:00Z.")
    if not isinstance(value, str) or not _RFC_3339.fullmatch(value):
        raise refused
    try:
        return datetime.fromisoformat(value.upper())
    except ValueError as error:
        raise refused from error
