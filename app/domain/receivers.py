"""How a receiver of webhooks has been doing: its circuit, how much it is sent at once, when its endpoint is disabled.

Pure rules; whoever holds the row asks them and writes down the answer. A receiver without a row is new. An open
circuit postpones deliveries and never uses up their schedule.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

#: Deliveries that are under way to one receiver at once: each success adds one, each sign of overload halves it. One that hangs
#: from the first holds up one thread.
FIRST_CONCURRENCY = 1
MAX_CONCURRENCY = 4

#: So many failures in a row open the circuit; then one delivery at a time probes it.
FAILURES_TO_OPEN = 5
FIRST_OPEN = timedelta(seconds=30)
LONGEST_OPEN = timedelta(minutes=10)

#: An endpoint that failed for this long, and so often in a row, is disabled; half way there its account is warned.
DISABLE_AFTER = timedelta(days=5)
DISABLE_FAILURES = 50

#: The answers of a receiver that has more to do than it can; no answer in time is another sign of it.
OVERLOADED = frozenset({429, 502, 503, 504})


class Circuit(StrEnum):
    """Whether a receiver is sent anything."""

    CLOSED = "CLOSED"  #: it is sent what is due
    OPEN = "OPEN"  #: it failed too often; nothing is sent before a time
    HALF_OPEN = "HALF_OPEN"  #: that time has come, and the next delivery tries


@dataclass(frozen=True, slots=True)
class Health:
    """How a receiver has been doing since its last success; `failures` counts attempts in a row."""

    concurrency: int = FIRST_CONCURRENCY
    failures: int = 0
    failing_since: datetime | None = None
    warned_at: datetime | None = None
    open_until: datetime | None = None

    def circuit(self, now: datetime) -> Circuit:
        """Tell where the circuit stands."""
        if self.failures < FAILURES_TO_OPEN:
            return Circuit.CLOSED
        return Circuit.OPEN if self.open_until is not None and self.open_until > now else Circuit.HALF_OPEN


NEW = Health()


def after_success(health: Health) -> Health:
    """Close the circuit, and send one more at once."""
    return Health(concurrency=min(health.concurrency + 1, MAX_CONCURRENCY))


def after_failure(health: Health, now: datetime, *, overloaded: bool, probe: bool) -> Health:
    """Count a failure; where it is one too many, open the circuit, for longer after every probe that fails."""
    if health.circuit(now) is Circuit.OPEN and not probe:
        return health  # it was under way when the circuit opened, and tells nothing new
    failures = health.failures + 1
    return replace(
        health,
        concurrency=max(health.concurrency // 2, 1) if overloaded else health.concurrency,
        failures=failures,
        failing_since=health.failing_since or now,
        open_until=None if failures < FAILURES_TO_OPEN else now + open_for(failures),
    )


def after_nothing(health: Health, now: datetime, *, probe: bool) -> Health:
    """Count nothing: the attempt was a test or failed by a fault of ours. After a probe the circuit is as open as before."""
    if not probe or health.failures < FAILURES_TO_OPEN:
        return health
    return replace(health, open_until=now + open_for(health.failures))


def open_for(failures: int) -> timedelta:
    """Give how long the circuit stays open after so many failures in a row."""
    doublings = min(failures - FAILURES_TO_OPEN, 16)  # far beyond the longest time already
    return min(FIRST_OPEN * (1 << doublings), LONGEST_OPEN)


def is_disabled_by(health: Health, now: datetime) -> bool:
    """Tell whether an endpoint has failed for too long."""
    return health.failures >= DISABLE_FAILURES and _failing_for(health, now) >= DISABLE_AFTER


def is_warned_by(health: Health, now: datetime) -> bool:
    """Tell whether an endpoint is half way to being disabled and nobody was told yet."""
    half_way = health.failures >= DISABLE_FAILURES // 2 and _failing_for(health, now) >= DISABLE_AFTER / 2
    return half_way and health.warned_at is None


def _failing_for(health: Health, now: datetime) -> timedelta:
    return timedelta() if health.failing_since is None else now - health.failing_since
