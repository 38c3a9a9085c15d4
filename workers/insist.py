"""Write to Postgres through a short absence of it, so that finished work is not done again for a blip."""

import time
from collections.abc import Callable
from typing import TypeVar

from app.errors import ServiceUnavailable

_PAUSE_SECONDS = 1.0

Result = TypeVar("Result")


def insist(write: Callable[[], Result], seconds: float) -> Result:
    """Try until it succeeds or the time is over; then raise ServiceUnavailable."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return write()
        except ServiceUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_SECONDS)
