"""When a schedule comes due: cron expressions on the clock of a time zone, and what is made up for after an outage.

Every time in and out is UTC. A time that the clock jumps over in spring comes due when the jump is over, one that it shows
twice in autumn comes due once, as Debian's cron does; an expression whose minute or hour is a `*` simply follows the clock.
Whoever asks from inside such an hour still gets a later time, never an earlier one.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from app.errors import ValidationError

#: Due times that ALL makes up for at most; older ones are left out.
MAX_MISSED = 100

#: A due time that was found later than this was missed.
LATE = timedelta(minutes=1)

#: How far back is looked first for what was missed.
_FIRST_LOOK = timedelta(hours=2)

_FIELDS = 5
MAX_LENGTH = 128


class CatchUp(StrEnum):
    """What is done about due times that nobody saw because nothing was running."""

    SKIP = "SKIP"  #: nothing: the schedule goes on with its next one
    ONE = "ONE"  #: one run, for the newest of them
    ALL = "ALL"  #: a run for each of them


@dataclass(frozen=True, slots=True)
class Rule:
    """When a schedule comes due."""

    cron: str
    time_zone: str
    catch_up: CatchUp

    def following(self, moment: datetime) -> datetime:
        """Give the first due time after a moment; raises ValueError where there is none within fifty years."""
        for candidate in self._walk(moment):
            # In the second pass of an hour that the clock shows twice, the candidate may be one of the first pass.
            if candidate > moment:
                return candidate
        raise ValueError("it never comes due")

    def due(self, first: datetime, now: datetime) -> list[datetime]:
        """List which due times from the first one known, which is one itself, until now become runs, oldest first."""
        limit = MAX_MISSED if self.catch_up is CatchUp.ALL else 1
        found = self._newest(first, now, limit)
        if self.catch_up is CatchUp.SKIP:
            found = [moment for moment in found if now - moment <= LATE]
        return found

    def _newest(self, first: datetime, now: datetime, limit: int) -> list[datetime]:
        """List the newest due times until now, oldest first.

        Always walked forward, where a schedule's own times are: backward, a clock that is changed shows others. The look back
        grows until there are enough, so that a long outage of a frequent schedule costs little.
        """
        span = _FIRST_LOOK
        while True:
            start = now - span
            moment = first if start <= first else self.following(start)
            found: deque[datetime] = deque(maxlen=limit)
            while moment <= now:
                found.append(moment)
                moment = self.following(moment)
            if len(found) == limit or start <= first:
                return list(found)
            span *= 4

    def _walk(self, moment: datetime) -> Iterator[datetime]:
        try:
            times = CronSim(self.cron, moment.astimezone(_zone(self.time_zone)))
        except CronSimError as error:
            raise ValueError(str(error)) from error
        return (time.astimezone(UTC) for time in times)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (KeyError, OSError) as error:  # this machine does not know it
        raise ValueError(f"no time zone {name}") from error


def read_cron(value: object) -> str:
    """Check an expression of five fields; raises ValidationError."""
    if not isinstance(value, str) or len(value) > MAX_LENGTH or len(value.split()) != _FIELDS:
        raise ValidationError(
            "Cron must have five fields: minute, hour, day of month, month, day of week, as 30 3 * * MON-FRI."
        )
    try:
        Rule(value, "UTC", CatchUp.SKIP).following(datetime.now(UTC))
    except ValueError as error:
        raise ValidationError(f"Cron: {error}.") from error
    return " ".join(value.split())


def read_time_zone(value: object) -> str:
    """Check the name of a time zone; raises ValidationError."""
    if not isinstance(value, str) or value not in _time_zones():
        raise ValidationError("TimeZone must be a name of the IANA time zone database, as Europe/Berlin or UTC.")
    return value


def read_catch_up(value: object) -> str:
    """Check a catch-up policy; raises ValidationError."""
    if not isinstance(value, str) or value not in list(CatchUp):
        raise ValidationError(f"CatchUp must be one of {', '.join(CatchUp)}.")
    return value


@lru_cache(maxsize=1)
def _time_zones() -> frozenset[str]:
    # Without those that mean another zone on another machine.
    return frozenset(available_timezones()) - {"localtime", "posixrules", "Factory"}
