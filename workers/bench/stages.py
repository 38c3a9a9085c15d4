"""How far a benchmark is, told on stderr: one line for each thing that takes time."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_SHOWN_EVERY_SECONDS = 5.0


class Stages:
    """Tells what is being done, and how long it took."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()

    def say(self, text: str) -> None:
        """Tell something."""
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Tell that something begins, and when it has ended."""
        self.say(f"{name} ...")
        began = time.monotonic()
        yield
        self.say(f"{name}: {time.monotonic() - began:.1f} s")

    def count(self, name: str, done: int, total: int) -> None:
        """Tell now and then how far something is."""
        if time.monotonic() - self._shown_at >= _SHOWN_EVERY_SECONDS:
            self._shown_at = time.monotonic()
            self.say(f"{name}: {done:,} of {total:,}")
