"""Webhook endpoints: what an account may set on one, and how one is shown.

Header values and secrets go in and never come out again: the document has no place for them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from app.domain.addresses import IPNetwork, Refused, parse_target
from app.domain.jobs import iso
from app.domain.webhook_events import TYPES
from app.errors import ValidationError

MAX_ENDPOINTS = 20  #: of an account

#: Secrets of one endpoint that sign at the same time; a rotation beyond that ends the oldest.
MAX_LIVE_SECRETS = 3
DEFAULT_OVERLAP = timedelta(days=1)
MAX_OVERLAP = timedelta(days=7)

MAX_DESCRIPTION = 256
MAX_HEADERS = 10
PAYLOADS = ("FULL", "REFERENCE")

_CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}")
HEADER_VALUE = re.compile(r"[!-~](?:[ -~]{0,1022}[!-~])?")

#: Ours, or the connection's. The comment says whose.
_DENIED_HEADERS = re.compile(
    r"host|user-agent|accept-encoding|expect"  # the sender's
    r"|content-.*|webhook-.*"  # the message's
    r"|connection|keep-alive|te|trailer|transfer-encoding|upgrade|http2-settings|proxy-.*"  # hop by hop
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as stored, and how its receiver has been doing."""

    endpoint_id: str
    account_id: int
    url: str
    event_types: list[str] | None  # none: all
    description: str
    headers: bytes | None = field(repr=False)  # encrypted
    payload: str
    status: str
    disabled_reason: str | None
    disabled_at: datetime | None
    created_at: datetime
    updated_at: datetime
    circuit: str
    failures: int  # in a row
    failing_since: datetime | None
    open_until: datetime | None

    @property
    def enabled(self) -> bool:
        """Whether anything is sent to it."""
        return self.status == "ENABLED"


def document(endpoint: Endpoint, header_names: Sequence[str]) -> dict[str, Any]:
    """Render an endpoint; absent members are left out."""
    health = {
        "State": endpoint.circuit,
        "ConsecutiveFailures": endpoint.failures,
        "FailingSince": iso(endpoint.failing_since),
        "OpenUntil": iso(endpoint.open_until) if endpoint.circuit == "OPEN" else None,
    }
    members = {
        "EndpointId": endpoint.endpoint_id,
        "Url": endpoint.url,
        "EventTypes": endpoint.event_types,
        "Description": endpoint.description,
        "HeaderNames": list(header_names),
        "Payload": endpoint.payload,
        "Status": endpoint.status,
        "DisabledReason": endpoint.disabled_reason,
        "DisabledAt": iso(endpoint.disabled_at),
        "CreatedAt": iso(endpoint.created_at),
        "UpdatedAt": iso(endpoint.updated_at),
        "Health": {name: value for name, value in health.items() if value is not None},
    }
    return {name: value for name, value in members.items() if value is not None}


def read_new(members: Mapping[str, Any], allow: Sequence[IPNetwork]) -> dict[str, Any]:
    """Check what a caller says of a new endpoint, as `read_changes` does; it must have a URL."""
    if "Url" not in members:
        raise ValidationError("Url is missing: where webhooks are sent, as https://...")
    return read_changes(members, allow)


def read_changes(members: Mapping[str, Any], allow: Sequence[IPNetwork]) -> dict[str, Any]:
    """Check the members that a caller named and give them as columns, headers in clear; raises ValidationError."""
    readers: dict[str, tuple[str, Callable[[Any], Any]]] = {
        "Url": ("url", lambda value: _url(value, allow)),
        "EventTypes": ("event_types", _event_types),
        "Description": ("description", _description),
        "Headers": ("headers", _headers),
        "Payload": ("payload", _payload),
    }
    return {column: read(members[name]) for name, (column, read) in readers.items() if name in members}


#: What `read_changes` knows.
MEMBERS = ("Url", "EventTypes", "Description", "Headers", "Payload")


def read_event_types(value: object) -> list[str]:
    """Check a list of event types; raises ValidationError."""
    if not isinstance(value, list) or not value or not all(one in TYPES for one in value):
        raise ValidationError(f"EventTypes must be a list of {', '.join(TYPES)}.")
    return list(dict.fromkeys(value))


def read_overlap(value: object) -> timedelta:
    """Check for how long earlier secrets go on signing; raises ValidationError."""
    longest = int(MAX_OVERLAP.total_seconds())
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= longest:
        raise ValidationError(f"OverlapSeconds must be a whole number of seconds, 0 to {longest}.")
    return timedelta(seconds=value)


def _url(value: object, allow: Sequence[IPNetwork]) -> str:
    if not isinstance(value, str):
        raise ValidationError("Url must be a text: where webhooks are sent, as https://...")
    try:
        parse_target(value, allow)
    except Refused as error:
        raise ValidationError(f"Url: {error}.") from error
    return value


def _event_types(value: object) -> list[str] | None:
    return None if value is None else read_event_types(value)


def _description(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_DESCRIPTION or _CONTROL.search(value):
        raise ValidationError(f"Description must be a text of at most {MAX_DESCRIPTION} characters on one line.")
    return value


def _headers(value: object) -> dict[str, str] | None:
    """Check the headers that are sent along; a refusal names a header, never its value."""
    if value is None or value == {}:
        return None
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise ValidationError(f"Headers must be an object of at most {MAX_HEADERS} names and values.")
    for name, content in value.items():
        if not HEADER_NAME.fullmatch(name):
            raise ValidationError("Headers: a name is 1 to 64 letters, digits and signs such as - and _.")
        if _DENIED_HEADERS.fullmatch(name.lower()):
            raise ValidationError(f"Headers: {name} is set by the sender and cannot be chosen.")
        if not isinstance(content, str) or not HEADER_VALUE.fullmatch(content):
            raise ValidationError(
                f"Headers: the value of {name} must be 1 to 1024 printable ASCII characters without spaces around them."
            )
    if len({name.lower() for name in value}) < len(value):
        raise ValidationError("Headers: names differ by more than upper and lower case.")
    return dict(value)


def _payload(value: object) -> str:
    if value not in PAYLOADS:
        raise ValidationError(f"Payload must be {' or '.join(PAYLOADS)}.")
    return str(value)
