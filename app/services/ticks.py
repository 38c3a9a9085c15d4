"""A tick's run: claimed, got on with step by step, ended.

A step is one transaction: what it writes, how far the tick has come, and its renewed lease. A worker that lost its lease writes
nothing, and whoever claims the tick next goes on from the last step that was committed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import ticks as rows
from app.db.session import Database
from app.db.ticks import TickClaim
from app.domain.schedules import KEEP_TICKS, LEASE, MAX_TRIES, RETRY_PAUSES, TickStatus
from app.errors import InternalServerError, ServiceError

#: Ticks that one purge deletes at most, so that its transaction stays short.
_PURGE_LIMIT = 500

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a step came: where the next one begins (nowhere: the tick is done) and what came of all of them so far."""

    cursor: Document | None
    result: Document
    pause: timedelta = field(default_factory=timedelta)  # before the next step


#: Runs inside the transaction of a step, after everything that needs none was looked at.
Write = Callable[[Connection], Progress]


def claim(database: Database) -> TickClaim | None:
    """Take the tick that has waited the longest; None where there is none. One that failed too often ends."""
    with database.transaction() as connection:
        schedule_id = rows.lock_next_schedule(connection)
        taken = None if schedule_id is None else rows.claim(connection, schedule_id, lease=LEASE)
        if taken is not None and taken.failures >= MAX_TRIES:
            rows.finish(connection, taken, TickStatus.FAILED, error=_told(InternalServerError()))
            return None
    return taken


def advance(database: Database, held: TickClaim, write: Write) -> Progress | None:
    """Make a step; None where the lease was lost and nothing was written."""
    with database.transaction() as connection:
        if not rows.lock(connection, held):
            return None
        progress = write(connection)
        if progress.cursor is None:
            rows.finish(connection, held, TickStatus.SUCCEEDED, result=progress.result)
        else:
            rows.save(connection, held, cursor=progress.cursor, result=progress.result, lease=LEASE)
            if progress.pause:
                rows.give_back(connection, held, pause=progress.pause)
    return progress


def give_back(database: Database, held: TickClaim) -> None:
    """Let others have their turn; the tick goes on after them."""
    with database.transaction() as connection:
        rows.give_back(connection, held, pause=timedelta())


def fail(database: Database, held: TickClaim, error: ServiceError) -> bool:
    """Queue a tick again whose failure may pass, or end it; tell whether it ended."""
    with database.transaction() as connection:
        if error.retryable and held.failures < len(RETRY_PAUSES):
            rows.give_back(connection, held, pause=RETRY_PAUSES[held.failures], failed=True)
            return False
        rows.finish(connection, held, TickStatus.FAILED, error=_told(error))
    return True


def purge(database: Database) -> int:
    """Forget ticks that ended long ago; give how many."""
    with database.transaction() as connection:
        return rows.purge(connection, keep=KEEP_TICKS, limit=_PURGE_LIMIT)


def _told(error: ServiceError) -> Document:
    return {"Code": error.code, "Message": error.message}
