"""Run ticks: a slice of time for one, then the next one's turn, so that none holds up a worker for long."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace

from app.db.ticks import TickClaim
from app.domain.schedules import Kind
from app.errors import InternalServerError, ServiceError
from app.services import integrity, retention, ticks
from app.services.ticks import Progress, Write
from workers.runtime import Runtime
from workers.schedules import purge, resync

log = logging.getLogger(__name__)

#: A tick makes steps for this long before others have their turn.
_SLICE_SECONDS = 1.0


def _written(progress: Progress) -> Write:
    """Make the writes of a step that has nothing to write but how far it came."""
    return lambda connection: progress


#: A step of each kind: it looks while no transaction is open, and gives what is written in one.
_STEPS: dict[Kind, Callable[[TickClaim, Runtime], Write]] = {
    Kind.PURGE: lambda held, runtime: _written(purge.purge(held, runtime)),
    Kind.RETENTION: lambda held, runtime: lambda connection: retention.delete_old(connection, held),
    Kind.RESYNC: resync.step,
    Kind.INTEGRITY: lambda held, runtime: _written(integrity.check(runtime.database, held)),
}


def run_some(runtime: Runtime) -> bool:
    """Run the tick that has waited the longest for a slice of time; False where there is none.

    Raises ServiceUnavailable while Postgres is away: then the lease runs out.
    """
    held = ticks.claim(runtime.database)
    if held is None:
        return False
    try:
        outcome = _run(held, runtime)
    except ServiceError as error:
        outcome = _fail(held, error, runtime)
    except Exception as error:  # the edge of the process: the tick must end, the worker must live
        log.error("tick_crashed", exc_info=error, extra={"schedule_id": str(held.schedule_id)})
        outcome = _fail(held, InternalServerError(), runtime)
    fields = {"schedule_id": str(held.schedule_id), "kind": held.kind.value, "due_at": held.due_at.isoformat()}
    log.info("tick_run", extra={**fields, "outcome": outcome})
    return True


def _run(held: TickClaim, runtime: Runtime) -> str:
    """Make steps until the tick is done or its slice is over."""
    deadline = time.monotonic() + _SLICE_SECONDS
    while True:
        progress = ticks.advance(runtime.database, held, _STEPS[held.kind](held, runtime))
        if progress is None:
            return "lease-lost"
        if progress.cursor is None:
            return "succeeded"
        if progress.pause:
            return "waiting"
        if time.monotonic() > deadline:
            ticks.give_back(runtime.database, held)
            return "continued"
        held = replace(held, cursor=progress.cursor, result=progress.result)


def _fail(held: TickClaim, error: ServiceError, runtime: Runtime) -> str:
    return error.code if ticks.fail(runtime.database, held, error) else "retried"
