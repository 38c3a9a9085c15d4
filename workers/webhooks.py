"""One attempt to deliver one webhook message (Standard Webhooks 1.0).

An attempt has no memory: it posts the stored bytes and says what came of it. Who calls decides when to try again. The
id is the event's and the same in every attempt, so that receivers can drop what they have seen.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.domain.addresses import Refused
from app.domain.signatures import sign
from app.domain.webhooks import KEPT_ANSWER_BYTES
from workers.outbound import Dialer, Response, Unreachable

GONE = 410

#: A receiver may ask for a longer pause than the schedule's, but not for ever.
MAX_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to one URL."""

    event_id: str
    url: str
    secret: str = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; `final` means that the receiver wants no other one, ever."""

    succeeded: bool
    status: int | None
    error: str | None
    milliseconds: int
    answer: bytes
    retry_after_seconds: float | None
    final: bool


def attempt(dialer: Dialer, delivery: Delivery, now_timestamp: int) -> Outcome:
    """Post the message once; `now_timestamp` in Unix seconds is signed with it."""
    start = time.monotonic()
    try:
        response = dialer.post(delivery.url, delivery.body, _headers(delivery, now_timestamp))
    except (Refused, Unreachable) as error:
        return Outcome(False, None, str(error), _milliseconds_since(start), b"", None, False)
    return _outcome(response, _milliseconds_since(start), now_timestamp)


def _headers(delivery: Delivery, now_timestamp: int) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(now_timestamp),
        "webhook-signature": sign(delivery.secret, delivery.event_id, now_timestamp, delivery.body),
    }


def _outcome(response: Response, milliseconds: int, now_timestamp: int) -> Outcome:
    succeeded = 200 <= response.status < 300
    return Outcome(
        succeeded=succeeded,
        status=response.status,
        error=None if succeeded else f"the server answered {response.status}",
        milliseconds=milliseconds,
        answer=response.body[:KEPT_ANSWER_BYTES],
        retry_after_seconds=None if succeeded else _retry_after(response.headers, now_timestamp),
        final=response.status == GONE,
    )


def _retry_after(headers: Mapping[str, str], now_timestamp: int) -> float | None:
    """Read the pause that a receiver asks for, in seconds or as an HTTP date; nonsense asks for none."""
    text = headers.get("retry-after", "").strip()
    if re.fullmatch("[0-9]+", text):
        return min(float(text), MAX_RETRY_AFTER_SECONDS)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    seconds = (when - datetime.fromtimestamp(now_timestamp, UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)


def _milliseconds_since(start: float) -> int:
    return math.ceil((time.monotonic() - start) * 1000)
