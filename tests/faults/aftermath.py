"""The quiet after the faults: everything that was begun ends, and what was seen is looked at as a whole."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.faults.fleet import Fleet
from tests.faults.history import History
from tests.faults.receiver import FrailReceiver

#: Everything has ended this long after the last fault.
CALM_SECONDS = 60.0

_UNFINISHED = (
    "SELECT 1 FROM jobs WHERE finished_at IS NULL UNION ALL SELECT 1 FROM batches WHERE finished_at IS NULL LIMIT 1"
)

#: Spares the test the minutes before a failed delivery is tried again, and before a dead courier's are taken from it: a living
#: one is done with a delivery in seconds of its lease.
_HASTEN = (
    "UPDATE deliveries SET next_attempt_at = now(), leased_until = NULL WHERE status = 'PENDING' AND"
    " CASE WHEN leased_until > now() THEN leased_until < now() + interval '40 s' ELSE next_attempt_at > now() END",
    "UPDATE receivers SET open_until = now() WHERE open_until > now()",
)


@dataclass(frozen=True)
class Aftermath:
    """What is left when the faults are over. `expected` gives the result of an operation on a fault-free run."""

    fleet: Fleet
    history: History
    receiver: FrailReceiver
    expected: Mapping[str, Any]

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        return self.fleet.query(statement)

    def settle(self) -> float:
        """Wait until all jobs, batches and deliveries have ended; give the monotonic time at which jobs and batches had."""
        self.fleet.wait(lambda: not self.ask(_UNFINISHED), CALM_SECONDS, "every job and batch has ended")
        ended_at = time.monotonic()
        self.fleet.wait(self._all_told, 2 * CALM_SECONDS, "every webhook arrives")
        return ended_at

    def _all_told(self) -> bool:
        for statement in _HASTEN:
            self.ask(statement)
        return not self.ask("SELECT 1 FROM deliveries WHERE status = 'PENDING' LIMIT 1")
