"""The types of webhook events and how a message is put together (Standard Webhooks 1.0).

A message is made once and its bytes are kept: every attempt sends exactly those.
"""

import json
from typing import Any

from app.domain.batches import COMPLETED
from app.domain.jobs import TERMINAL, event_type
from app.domain.webhooks import MAX_BODY_BYTES

TEST = "webhook.test"  #: sent when a caller asks for it, to the one endpoint, whatever that wants to hear
FAILING = "webhook.failing"  #: an endpoint is half way to being disabled
DISABLED = "webhook.disabled"  #: an endpoint was disabled because it failed for too long

REPROCESSED = "reprocess.completed"  #: a collection has moved to another face model version, or the move was given up

#: Every type there is.
TYPES = (*sorted(event_type(status) for status in TERMINAL), COMPLETED, REPROCESSED, DISABLED, FAILING, TEST)


def message(type_: str, timestamp: str | None, data: dict[str, Any]) -> bytes:
    """Make the body of an event; a job's result that makes it too large is left for the receiver to fetch."""
    body = _encode(type_, timestamp, data)
    if len(body) > MAX_BODY_BYTES:
        body = _encode(type_, timestamp, {name: value for name, value in data.items() if name != "Result"})
    return body


def _encode(type_: str, timestamp: str | None, data: dict[str, Any]) -> bytes:
    return json.dumps({"type": type_, "timestamp": timestamp, "data": data}, separators=(",", ":")).encode()
