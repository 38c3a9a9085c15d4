"""Beat's scheduler. It keeps no file: every tick is idempotent, and what is due is told by Postgres."""

import logging
from typing import Any

from celery import beat

from app.failpoints import failpoint

log = logging.getLogger(__name__)


class Scheduler(beat.Scheduler):  # type: ignore[misc]  # Celery ships no types
    """Celery's scheduler in memory, which tells in one line that a tick could not be sent; the next one comes soon."""

    def apply_entry(self, entry: beat.ScheduleEntry, producer: Any = None) -> None:
        """Send a tick."""
        failpoint("in_beat")
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except beat.SchedulingError as error:
            log.warning("tick_not_sent", extra={"tick": entry.name, "reason": type(error.__context__).__name__})
