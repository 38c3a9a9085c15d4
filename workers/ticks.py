"""Beat's scheduler. It keeps no file: every tick is idempotent, and what is due is told by Postgres."""

import logging
from typing import Any

from celery import beat
from kombu.exceptions import OperationalError

from app.broker import bells_waiting
from app.domain.jobs import Lane
from app.failpoints import failpoint

log = logging.getLogger(__name__)

#: Ticks that wait at most: while nobody listens, they would gather and all be run when somebody does.
_MOST_WAITING = 10


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery ships no types
    """Celery's scheduler in memory, which tells in one line that a tick could not be sent; the next one comes soon."""

    def apply_entry(self, entry: beat.ScheduleEntry, producer: Any = None) -> None:
        """Send a tick."""
        failpoint("in_beat")
        try:
            if bells_waiting(self.producer, Lane.MAINTENANCE) >= _MOST_WAITING:
                return
            self.apply_async(entry, producer=producer, advance=False)
        except (beat.SchedulingError, OperationalError) as error:
            log.warning("tick_not_sent", extra={"tick": entry.name, "reason": type(error.__context__).__name__})
