"""Named points in the code at which a test lets its process die: what becomes of half-done work is then seen, and not argued.

`REKOLLECT_FAILPOINTS=after_claim,in_sweep:3` names points, each with how many processes die there; a file in
`REKOLLECT_FAILPOINTS_DIR` notes each death, so that a process which is started again goes on. Nothing is armed without both.
"""

import os
import signal
from collections.abc import Mapping
from pathlib import Path

#: Every point, and where in the work it is.
POINTS: Mapping[str, str] = {
    "before_accept": "a job is written and not yet committed",
    "after_insert": "a job is committed; its bell is not rung, its caller not told",
    "after_claim": "a worker holds a job and has not begun",
    "mid_work": "a job's picture is fetched and not looked at",
    "after_compute": "a job's work is done and nothing of it written",
    "before_commit": "an ending is written and not yet committed",
    "after_commit": "an ending is committed; nobody is told",
    "before_post": "a delivery is taken and not sent",
    "after_post": "a delivery is sent and what came of it not written",
    "after_batch_claim": "a worker holds a chunk of a batch and has not begun",
    "before_batch_commit": "a chunk's endings are written and not yet committed",
    "after_batch_commit": "a chunk's endings are committed; nobody is told",
    "after_page_take": "a worker holds a page of a reprocess and has not begun",
    "before_page_commit": "a page's embeddings are written and not yet committed",
    "in_sweep": "jobs of dead workers are taken back and it is not yet committed",
    "after_sweep": "jobs of dead workers are taken back and not rung for",
    "in_ticks": "due times have become ticks and it is not yet committed",
    "in_beat": "beat is about to send a tick",
    "in_bucket_move": "vectors are moved to another bucket and it is not yet committed",
}

_armed: dict[str, int] = {}
_deaths: list[Path] = []


def parse_points(text: str) -> tuple[tuple[str, int], ...]:
    """Read points and their numbers of deaths, one where none is given; raise ValueError for what is no point."""
    found = tuple(word.partition(":") for word in text.replace(",", " ").split())
    wrong = [name for name, _, times in found if name not in POINTS or not (times or "1").isdigit()]
    if wrong:
        raise ValueError(f"names no point, or not how often: {', '.join(wrong)}")
    return tuple((name, int(times or 1)) for name, _, times in found)


def arm(points: tuple[tuple[str, int], ...], deaths: Path | None) -> None:
    """Let this process die at these points, as long as the folder does not show that enough died there."""
    _armed.clear()
    _deaths.clear()
    if deaths is not None:
        _armed.update(points)
        _deaths.append(deaths)


def failpoint(name: str) -> None:
    """Die here, as of kill -9, where a test asked for it."""
    if name in _armed:
        _die(name)


def _die(name: str) -> None:
    for death in range(1, _armed[name] + 1):
        try:
            (_deaths[0] / f"{name}.{death}").touch(exist_ok=False)
        except FileExistsError:
            continue
        os.kill(os.getpid(), signal.SIGKILL)
