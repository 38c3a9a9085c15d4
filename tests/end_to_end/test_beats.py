"""Three real beats beside a running stack, one killed every few seconds: every due tick exactly once."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from app.config import Settings
from tests.live import LiveStack
from tests.patience import wait_until

SECONDS = 25


@pytest.fixture
def stack(tmp_path: Path, settings: Settings) -> Iterator[LiveStack]:
    with LiveStack(tmp_path) as live:
        yield live


@contextmanager
def beat(live: LiveStack) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **live.stack.variables}
    command = [sys.executable, "-m", "app.cli.main", "beat"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.models
def test_three_beats_and_every_due_tick_exactly_once(stack: LiveStack) -> None:
    ((schedule,),) = stack.query(
        "INSERT INTO schedules (account_id, name, kind, cron, catch_up, next_due_at)"
        " SELECT account_id, 'every second', 'INTEGRITY', '* * * * * *', 'ALL', date_trunc('second', now())"
        " FROM accounts RETURNING schedule_id"
    )
    chance = random.Random(0)  # noqa: S311 - when to kill
    deadline = time.monotonic() + SECONDS
    with beat(stack):
        while time.monotonic() < deadline:
            with ExitStack() as life:
                life.enter_context(beat(stack))
                time.sleep(chance.uniform(4, 6))
    stack.query("UPDATE schedules SET enabled = false, next_due_at = NULL WHERE schedule_id = %s", schedule)
    unfinished = "SELECT FROM ticks WHERE schedule_id = %s AND finished_at IS NULL"
    wait_until(lambda: not stack.query(unfinished, schedule), 30)
    found = stack.query(
        "SELECT due_at, status, lease, failures FROM ticks WHERE schedule_id = %s ORDER BY due_at", schedule
    )
    due = [row[0] for row in found]
    assert len(due) >= SECONDS - 3
    assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))]
    assert {row[1:] for row in found} == {("SUCCEEDED", 1, 0)}
