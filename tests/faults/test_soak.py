"""Many jobs through one generation of processes: memory, files and connections stay, and a held snapshot slows nothing.

REKOLLECT_SOAK_JOBS sizes it; `make soak` runs 50,000.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.faults.conftest import Shop
from tests.faults.fleet import family

pytestmark = [pytest.mark.models, pytest.mark.faults]

JOBS = int(os.environ.get("REKOLLECT_SOAK_JOBS", "2000"))
PER_SECOND = float(os.environ.get("REKOLLECT_SOAK_RATE", "40"))

#: Growth of a process, in MiB for every 1,000 jobs of the run.
MOST_GROWTH = 1.0
MOST_FILES, MOST_CONNECTIONS = 8, 8


@dataclass(frozen=True)
class Sizes:
    """What a process and its children hold."""

    megabytes: float
    files: int


def measure(shop: Shop) -> dict[str, Sizes]:
    """Look at every process of ours."""
    return {name: _sizes(child.pid) for name, child in shop.fleet.children.items() if child.pid is not None}


def _sizes(pid: int) -> Sizes:
    members = family(pid)
    kilobytes = [
        int(line.split()[1])
        for one in members
        for line in Path(f"/proc/{one}/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    ]
    return Sizes(sum(kilobytes) / 1024, sum(len(list(Path(f"/proc/{one}/fd").iterdir())) for one in members))


def connections(shop: Shop) -> int:
    ((count,),) = shop.fleet.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'rekollect'")
    return int(count)


def run(shop: Shop, jobs: int) -> float:
    """Put so many jobs through; give the jobs a second."""
    began = time.monotonic()
    with shop.customers(jobs=jobs, per_second=PER_SECOND) as customers:
        shop.fleet.wait(lambda: not customers.busy, 60 + 10 * jobs / PER_SECOND, "everything is submitted")
    shop.check(customers)
    return jobs / (time.monotonic() - began)


def test_processes_stay_as_they_are(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    run(shop, JOBS // 2)  # what they open at first use, and their threads' own memory, is there after that
    before, connected = measure(shop), connections(shop)
    rate = run(shop, JOBS // 2)
    after = measure(shop)
    growth = {name: (after[name].megabytes - before[name].megabytes) / (JOBS / 2000) for name in before}
    files = {name: after[name].files - before[name].files for name in before}
    with capsys.disabled():
        print(
            f"\n\nthe second half of {JOBS} jobs at {rate:.0f}/s; MiB for every 1,000 jobs: {_shown(growth)}; files {files}",
            end="; ",
        )
        print(f"connections {connected} to {connections(shop)}")
    assert all(slope < MOST_GROWTH for slope in growth.values()), growth
    assert all(more <= MOST_FILES for more in files.values()), files
    assert connections(shop) - connected <= MOST_CONNECTIONS


def _shown(growth: dict[str, float]) -> str:
    return ", ".join(f"{name} {slope:.2f}" for name, slope in growth.items())


@contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    """Keep a transaction open that has written: nothing that is deleted meanwhile can be cleared away."""
    with psycopg.connect(url) as writer, psycopg.connect(url) as reader:
        writer.execute("CREATE TEMPORARY TABLE held (number int)")
        writer.execute("INSERT INTO held VALUES (1)")
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM jobs")
        yield


def test_a_held_snapshot_does_not_slow_the_claims(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    waited = "started_at - created_at"
    run(shop, JOBS // 2)
    before = shop.percentile(99, waited)
    with held_snapshot(shop.fleet.database_url):
        run(shop, JOBS // 2)
        held = shop.percentile(99, waited)
    run(shop, JOBS // 4)
    after = shop.percentile(99, waited)
    with capsys.disabled():
        print(f"\n\np99 from commit to start: {before:.3f} s, {held:.3f} s beside a held snapshot, {after:.3f} s after")
    # A tenth of a second is the noise of a busy machine.
    assert held <= 3 * before + 0.1
    assert after <= 3 * before + 0.1
