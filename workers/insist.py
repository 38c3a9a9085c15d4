"""Write to Postgres through a short absence of it, so that finished work is not done again for a blip."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from app.errors import ServiceUnavailable

_PAUSE_SECONDS = 1.0

Result = TypeVar("Result")


def insist(write: Callable[[], Result], seconds: float, *, stopping: threading.Event | None = None) -> Result:
    """Try until it succeeds, the time is over, or the process was asked to stop; then raise ServiceUnavailable."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return write()
        except ServiceUnavailable:
            if time.monotonic() > deadline or (stopping is not None and stopping.is_set()):
                raise
            time.sleep(_PAUSE_SECONDS)
