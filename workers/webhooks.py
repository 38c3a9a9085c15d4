"""One attempt to deliver one webhook message (Standard Webhooks 1.0).

An attempt has no memory: it posts the message and says what came of it. Who calls decides when to try again. The id is the
event's and the same in every attempt, so that receivers can drop what they have seen.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from app.domain.addresses import Refused
from app.domain.receivers import OVERLOADED
from app.domain.signatures import sign
from app.domain.webhooks import KEPT_ANSWER_BYTES
from workers.outbound import USER_AGENT, Dialer, Response, Unreachable

GONE = 410
INTERNAL = "internal"

#: No sane receiver asks for a longer pause.
MAX_RETRY_AFTER_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to one URL; it is signed with every secret, the newest first, and the receiver needs to know one."""

    event_id: str
    url: str
    secrets: tuple[str, ...] = field(repr=False)
    body: bytes = field(repr=False)
    custom_headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt; `kind` says what failed, `gone` that the receiver wants no other one, ever."""

    succeeded: bool
    status: int | None = None
    kind: str | None = None
    error: str | None = None
    milliseconds: int = 0
    address: str | None = None
    answer: bytes = b""
    retry_after_seconds: float | None = None

    @property
    def gone(self) -> bool:
        """Whether the receiver wants no message any more."""
        return self.status == GONE

    @property
    def ours(self) -> bool:
        """Whether it failed by a fault of ours, which tells nothing of the receiver."""
        return self.kind == INTERNAL

    @property
    def overloaded(self) -> bool:
        """Whether the receiver seems to have more to do than it can."""
        return self.kind == "timeout" or self.status in OVERLOADED


def attempt(dialer: Dialer, delivery: Delivery, now_timestamp: int) -> Outcome:
    """Post the message once; `now_timestamp` in Unix seconds is signed with it."""
    start = time.monotonic()
    try:
        response = dialer.post(delivery.url, delivery.body, _headers(delivery, now_timestamp))
    except Refused as error:
        return Outcome(False, kind="refused", error=str(error), milliseconds=_milliseconds_since(start))
    except Unreachable as error:
        milliseconds = _milliseconds_since(start)
        return Outcome(False, kind=error.kind, error=str(error), milliseconds=milliseconds, address=error.address)
    return _outcome(response, _milliseconds_since(start), now_timestamp)


def _headers(delivery: Delivery, now_timestamp: int) -> dict[str, str]:
    signatures = [sign(secret, delivery.event_id, now_timestamp, delivery.body) for secret in delivery.secrets]
    ours = {
        "user-agent": USER_AGENT,
        "content-type": "application/json",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(now_timestamp),
        "webhook-signature": " ".join(signatures),
    }
    return {name.lower(): value for name, value in delivery.custom_headers.items()} | ours


def _outcome(response: Response, milliseconds: int, now_timestamp: int) -> Outcome:
    succeeded = 200 <= response.status < 300
    return Outcome(
        succeeded=succeeded,
        status=response.status,
        kind=None if succeeded else "status",
        error=None if succeeded else f"the server answered {response.status}",
        milliseconds=milliseconds,
        address=response.address,
        answer=response.body[:KEPT_ANSWER_BYTES],
        retry_after_seconds=None if succeeded else _retry_after(response.headers, now_timestamp),
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
