"""Every due time becomes one tick and one run, however many beats there are and however they die."""

import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa

from app.db import schema
from app.domain.schedules import LEASE
from tests.clockwork import Clockwork
from tests.patience import wait_until

SECONDS = 24
ROOT = Path(__file__).parents[2]


@contextmanager
def beating(what: str, url: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "tests.beating", what, url], cwd=ROOT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def every_second(clockwork: Clockwork) -> str:
    """Make a schedule that comes due each second, which no caller can."""
    return clockwork.make(cron="* * * * * *", catch_up="ALL")


def finish(clockwork: Clockwork, schedule: str) -> None:
    """Let no more come due, and run what is left."""
    with clockwork.database.transaction() as connection:
        mine = schema.schedules.c.account_id == clockwork.account.account_id
        connection.execute(sa.update(schema.schedules).where(mine).values(enabled=False, next_due_at=None))
    clockwork.elapse(LEASE)
    while any(tick["status"] in ("QUEUED", "IN_PROGRESS") for tick in clockwork.ticks(schedule)):
        clockwork.finish(clockwork.claim())


def test_three_beats_one_killed_every_few_seconds_make_every_due_tick_exactly_once(clockwork: Clockwork) -> None:
    schedule, url = every_second(clockwork), clockwork.database.url
    chance = random.Random(0)  # noqa: S311 - whom to kill, and when
    beats = [beating("sweep", url) for _ in range(3)]
    processes = [beat.__enter__() for beat in beats]
    try:
        with beating("run", url):
            deadline = time.monotonic() + SECONDS
            while time.monotonic() < deadline:
                time.sleep(chance.uniform(1.5, 3))
                victim = chance.randrange(3)
                processes[victim].kill()
                processes[victim].wait()
                beats[victim].__exit__(None, None, None)
                beats[victim] = beating("sweep", url)
                processes[victim] = beats[victim].__enter__()
    finally:
        for beat in beats:
            beat.__exit__(None, None, None)
    finish(clockwork, schedule)
    found = clockwork.ticks(schedule)
    due = [tick["due_at"] for tick in found]
    assert len(due) >= SECONDS - 5
    assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))]
    assert {tick["status"] for tick in found} == {"SUCCEEDED"}
    assert {(tick["lease"], tick["failures"]) for tick in found[:-3]} == {(1, 0)}


def test_after_an_outage_of_all_beats_every_due_tick_is_made_up_for(clockwork: Clockwork) -> None:
    schedule, url = every_second(clockwork), clockwork.database.url
    with beating("sweep", url):
        wait_for(clockwork, schedule, 3)
    clockwork_stopped = len(clockwork.ticks(schedule))
    time.sleep(4)
    assert len(clockwork.ticks(schedule)) == clockwork_stopped
    with beating("sweep", url), beating("run", url):
        wait_for(clockwork, schedule, clockwork_stopped + 5)
    finish(clockwork, schedule)
    due = [tick["due_at"] for tick in clockwork.ticks(schedule)]
    assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))]


def wait_for(clockwork: Clockwork, schedule: str, count: int) -> None:
    wait_until(lambda: len(clockwork.ticks(schedule)) >= count, 30, pause=0.2)
