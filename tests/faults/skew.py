"""Processes whose clock is wrong: libfaketime, where the machine has it, shifts what they read of the time of day."""

import os
from pathlib import Path

_PLACES = (
    "/usr/lib/*/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
    "/usr/local/lib/faketime/libfaketimeMT.so.1",
)


def faketime_library() -> Path | None:
    """Find libfaketime: REKOLLECT_FAKETIME names it, or it is where packages put it."""
    named = os.environ.get("REKOLLECT_FAKETIME")
    found = [Path(named)] if named else [path for place in _PLACES for path in Path("/").glob(place[1:])]
    return next((path for path in found if path.exists()), None)


def shifted(minutes: int) -> dict[str, str]:
    """Give the environment of a process whose clock is so many minutes off; none where libfaketime is missing."""
    library = faketime_library()
    if library is None:
        return {}
    # What measures durations is left alone: a wrong time of day does not make seconds longer.
    return {"LD_PRELOAD": str(library), "FAKETIME": f"{minutes:+d}m", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
