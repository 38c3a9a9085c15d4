"""How a test waits for what comes about by itself: until it holds, and never for ever."""

import time
from collections.abc import Callable


def wait_until(
    happened: Callable[[], object], seconds: float = 20, *, what: Callable[[], object] | str = "", pause: float = 0.05
) -> None:
    """Ask again and again until the answer is true, and fail when it is not within `seconds`.

    `what` says on failure what was awaited or what was there instead.
    """
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what() if callable(what) else what}"
        time.sleep(pause)
