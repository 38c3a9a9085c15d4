"""Everything goes wrong at once, for a while: nothing is lost, nothing is done twice, everybody is told once.

REKOLLECT_FAULTS_SEED repeats the faults of a run, REKOLLECT_FAULTS_JOBS and REKOLLECT_FAULTS_RATE (jobs a second) size it.
`make faults` runs it at length.
"""

import os
import random
import time
from pathlib import Path

import pytest

from app.config import Settings
from tests.benchmarks.far_store import far_away
from tests.faults.aftermath import CALM_SECONDS, Aftermath
from tests.faults.checks import check_all
from tests.faults.customers import Customers
from tests.faults.disk import small_disk
from tests.faults.fleet import Fleet
from tests.faults.nemesis import Nemesis
from tests.faults.receiver import FrailReceiver
from tests.faults.skew import shifted
from tests.faults.trade import open_trade
from tests.s3 import S3Server

pytestmark = pytest.mark.models

SEED = int(os.environ.get("REKOLLECT_FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
JOBS = int(os.environ.get("REKOLLECT_FAULTS_JOBS", "250"))
PER_SECOND = float(os.environ.get("REKOLLECT_FAULTS_RATE", "8"))
COUNTS = {"api": 2, "worker": 3, "courier": 2, "beat": 2}

#: Seconds between two faults, on average.
EVERY = float(os.environ.get("REKOLLECT_FAULTS_EVERY", "2"))

#: A worker ten minutes ahead and a courier ten minutes behind; nobody but Postgres says what time it is.
SKEWED = {"worker-1": shifted(10), "courier-1": shifted(-10)}


def test_nothing_is_lost_and_nothing_is_doubled(
    tmp_path: Path,
    settings: Settings,
    s3_server: S3Server,
    portraits: dict[str, bytes],
    capsys: pytest.CaptureFixture[str],
) -> None:
    print(f"seed {SEED}")  # pytest shows it when the test fails
    with (
        small_disk(tmp_path / "disk", megabytes=1200) as disk,
        far_away(s3_server.endpoint_url, seconds=0.1) as slow_s3,
        FrailReceiver() as receiver,
        Fleet(
            tmp_path if disk is None else disk.folder,
            counts=COUNTS,
            s3=s3_server,
            s3_url=slow_s3,
            environments=SKEWED,
        ) as fleet,
    ):
        receiver.secret = fleet.key.webhook_secret
        trade = open_trade(fleet, s3_server, portraits)
        assert fleet.call("POST", "/v1/batches", trade.batch(JOBS // 10, receiver.url)).status == 202
        nemesis = Nemesis(fleet, receiver, seed=SEED, every=EVERY, disk=disk)
        with Customers(fleet, trade.order, jobs=JOBS, per_second=PER_SECOND, hook=receiver.url, seed=SEED) as customers:
            end = time.monotonic() + JOBS / PER_SECOND
            nemesis.rage(lambda: time.monotonic() < end)
            last_fault = time.monotonic()
            fleet.wait(lambda: not customers.busy, CALM_SECONDS, "every client knows what came of its calls")
        aftermath = Aftermath(fleet, customers.history, receiver, trade.expected)
        calm_after = aftermath.settle() - last_fault
        with capsys.disabled():
            print(_figures(aftermath, nemesis, calm_after))
        check_all(aftermath)
        assert calm_after <= CALM_SECONDS


def _figures(aftermath: Aftermath, nemesis: Nemesis, calm_after: float) -> str:
    ((jobs, again, slowest),) = aftermath.ask(
        "SELECT count(*), sum(attempt - 1), extract(epoch FROM max(finished_at - created_at))::float8 FROM jobs"
    )
    history = aftermath.history
    return (
        f"\n\nseed {SEED}: {jobs} jobs under {sum(nemesis.done.values())} faults ({dict(nemesis.done)}), skew {SKEWED != {}}"
        f"\nanswers {history.outcomes()}, p50 {history.milliseconds(50):.0f} ms, p99 {history.milliseconds(99):.0f} ms"
        f"\nrun again {again}, slowest job {slowest:.1f} s, all over {calm_after:.1f} s after the last fault,"
        f" {len(aftermath.receiver.messages)} webhooks arrived"
    )
