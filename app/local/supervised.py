"""One of our own processes (api, worker, courier, beat), started again when it dies.

They may be killed at any moment without loss: a job's lease ends and another worker takes it. So when the supervisor
itself dies, they are killed outright rather than asked.
"""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.local import process

_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0
_STEADY_SECONDS = 60.0  # a process that ran this long starts with a short delay again


class Supervised:
    """A `rekollect` command that should be running."""

    def __init__(
        self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str], pass_fds: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.log = log
        self.deaths = 0  # in a row
        self._arguments = [sys.executable, "-m", "app.cli.main", *command]
        # A folder named `app` in the caller's directory must not stand in for ours.
        self._environment = {**environment, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"}
        self._pass_fds = pass_fds
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._start_at = 0.0

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start it, now."""
        self._started = time.monotonic()
        self._child = process.start(
            self._arguments,
            log=self.log,
            death_signal=signal.SIGKILL,
            environment=self._environment,
            pass_fds=self._pass_fds,
        )

    def tend(self) -> str | None:
        """Start it again when its delay has passed; says in a few words what happened, or None."""
        if self.pid is not None:
            return None
        if self._child is not None:
            return self._bury(self._child)
        if time.monotonic() < self._start_at:
            return None
        self.start()
        return "started again"

    def ask_to_stop(self) -> None:
        """Send the polite signal, without waiting."""
        if self._child is not None and self._child.poll() is None:
            self._child.terminate()

    def end(self, deadline: float) -> None:
        """Wait until the deadline (of time.monotonic) for it to end, then kill it with all it started."""
        if self._child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(max(0.0, deadline - time.monotonic()))
            process.kill(self._child)
            self._child = None

    def _bury(self, child: subprocess.Popen[bytes]) -> str:
        process.kill(child)  # whatever it left behind in its group
        self._child = None
        if child.returncode == 0:  # it was asked to end, as in a rolling restart
            self._start_at = time.monotonic() + _FIRST_DELAY
            return "ended; starting again"
        if time.monotonic() - self._started > _STEADY_SECONDS:
            self.deaths = 0
        self.deaths += 1
        delay = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** (self.deaths - 1))
        self._start_at = time.monotonic() + delay
        return f"ended with {_cause(child.returncode)}; starting again in {delay:g} s (see {self.log})"


def _cause(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
