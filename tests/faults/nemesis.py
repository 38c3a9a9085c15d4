"""Does harm, by a seed: which fault, to whom and for how long is drawn in an order that the same seed repeats."""

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable

import psycopg

from tests.faults.disk import Disk
from tests.faults.fleet import Fleet
from tests.faults.receiver import FrailReceiver

#: How often a fault is drawn, beside the others.
FAULTS = {
    "kill worker": 5,
    "kill api": 3,
    "kill a web process": 2,
    "kill courier": 3,
    "kill beat": 3,
    "freeze worker": 3,
    "freeze courier": 1,
    "freeze api": 1,
    "freeze beat": 1,
    "kill valkey": 3,
    "freeze valkey": 1,
    "stop postgres at once": 2,
    "kill postgres": 1,
    "freeze postgres": 1,
    "terminate backends": 4,
    "kill a backend": 1,
    "receiver dies": 3,
    "fill the disk": 1,
}


class Nemesis:
    """Draws a fault every few seconds; `done` counts what it did."""

    def __init__(
        self, fleet: Fleet, receiver: FrailReceiver, *, seed: int, every: float, disk: Disk | None = None
    ) -> None:
        self.done: Counter[str] = Counter()
        self._fleet, self._receiver, self._disk = fleet, receiver, disk
        self._chance = random.Random(seed)
        self._every = every
        self._names = [name for name in FAULTS if disk is not None or name != "fill the disk"]

    def rage(self, goes_on: Callable[[], bool]) -> None:
        """Do harm until told to end, tending the fleet meanwhile, and clean up."""
        next_at = time.monotonic()
        while goes_on():
            if time.monotonic() >= next_at:
                self._strike()
                next_at = time.monotonic() + self._chance.uniform(0.3, 1.7) * self._every
            self._fleet.tend()
            if self._disk is not None:
                self._disk.tend()
            time.sleep(0.05)
        if self._disk is not None:
            self._disk.free()
        self._fleet.calm_down()

    def _strike(self) -> None:
        fault = self._chance.choices(self._names, [FAULTS[name] for name in self._names])[0]
        seconds = self._chance.uniform(0.2, 2.0)
        verb, _, whom = fault.partition(" ")
        if fault == "receiver dies":
            self._receiver.die(3)
        elif fault == "fill the disk" and self._disk is not None:
            self._disk.fill(seconds)
        elif fault == "terminate backends":
            self._terminate_backends()
        elif fault == "kill a backend":
            self._hurt_child("postgres")
        elif fault == "kill a web process":
            self._hurt_child(self._one_of("api"))
        elif fault == "stop postgres at once":
            self._fleet.kill("postgres", away=seconds / 2, number=signal.SIGQUIT)
        elif verb == "freeze":
            # Longer than a lease for what holds some: what wakes up then has been replaced.
            self._freeze(whom, 18.0 if whom == "worker" and seconds > 1.0 else 2 * seconds)
        else:
            self._kill(whom, seconds)
        self.done[fault] += 1

    def _one_of(self, kind: str) -> str | None:
        """Draw a victim; None where all of a kind are down already."""
        names = self._fleet.names(kind)
        draw = self._chance.random()  # drawn in any case, so that the seed's order stays
        return names[int(draw * len(names))] if names else None

    def _kill(self, whom: str, seconds: float) -> None:
        name = self._one_of(whom)
        if name is not None:
            self._fleet.kill(name, away=seconds)

    def _freeze(self, whom: str, seconds: float) -> None:
        name = self._one_of(whom)
        if name is not None:
            self._fleet.freeze(name, seconds)

    def _hurt_child(self, name: str | None) -> None:
        if name is not None and name in self._fleet.names(name.partition("-")[0]):
            self._fleet.kill_child(name, self._chance)

    def _terminate_backends(self) -> None:
        statement = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'rekollect'"
        if self._fleet.names("postgres"):
            with contextlib.suppress(psycopg.Error):
                self._fleet.query(statement)
