"""Purge: forget what is past its retention, in pages that are transactions of their own."""

import time
from collections.abc import Callable
from functools import partial

from app.db.session import Database
from app.db.ticks import TickClaim
from app.services import audit, batches, events, jobs, receivers, request_tokens, ticks
from app.services.ticks import Progress
from workers.runtime import Runtime

#: What is left after that the next tick forgets; it comes a minute later.
_LONGEST_SECONDS = 20.0

_FORGETTERS: dict[str, Callable[[Database], int]] = {
    "Jobs": jobs.purge,
    "BatchItems": batches.purge,
    "Events": events.purge,
    "LostDeliveries": receivers.bury,
    "Receivers": receivers.purge,
    "Ticks": ticks.purge,
}


def purge(held: TickClaim, runtime: Runtime) -> Progress:
    """Delete jobs, batches and lines past their retention, old events, ticks and request tokens; bury what waits for nobody."""
    deadline = time.monotonic() + _LONGEST_SECONDS
    forgetters: dict[str, Callable[[Database], int]] = {
        **_FORGETTERS,
        "AuditLines": partial(audit.purge, keep=runtime.settings.audit_retention),
    }
    result = dict.fromkeys(forgetters, 0)
    for name, forget in forgetters.items():
        while (forgotten := forget(runtime.database)) and time.monotonic() < deadline:
            result[name] += forgotten
    request_tokens.purge(runtime.database)
    return Progress(None, result)
