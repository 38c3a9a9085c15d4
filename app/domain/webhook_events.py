"""The types of webhook events and how a message is put together (Standard Webhooks 1.0).

A message is made once and its bytes are kept: every attempt sends exactly those.
"""

from typing import Any

from app.domain.batches import COMPLETED
from app.domain.jobs import TERMINAL, event_type
from app.domain.webhooks import MAX_BODY_BYTES, encode

TEST = "webhook.test"  #: sent when a caller asks for it, to the one endpoint, whatever that wants to hear
FAILING = "webhook.failing"  #: an endpoint is half way to being disabled
DISABLED = "webhook.disabled"  #: an endpoint was disabled because it failed for too long

REPROCESSED = "reprocess.completed"  #: a collection has moved to another face model version, or the move was given up

#: Every type there is.
TYPES = (*sorted(event_type(status) for status in TERMINAL), COMPLETED, REPROCESSED, DISABLED, FAILING, TEST)


#: Members without a narrow bound, in the order in which they are left out of a message that is too large.
_LARGE = ((), ("Result",), ("Result", "Metadata", "Defaults"))


def message(type_: str, timestamp: str | None, data: dict[str, Any]) -> bytes:
    """Make the body of an event; what makes it too large, first of all a result, is left for the receiver to fetch."""
    for absent in _LARGE:
        some = {name: value for name, value in data.items() if name not in absent}
        body = encode({"type": type_, "timestamp": timestamp, "data": some})
        if len(body) <= MAX_BODY_BYTES:
            break
    return body
