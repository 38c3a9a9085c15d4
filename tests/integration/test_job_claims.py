"""Claiming jobs: each one exactly once, in the right order, and held for as long as the worker shows life."""

import subprocess
import sys
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial

import pytest
import sqlalchemy as sa

from app.db import claims, schema
from app.domain.jobs import HEARTBEAT, LEASE, Claim, Company, Lane, Priority, Status
from app.services import jobs
from tests.desk import Desk
from tests.factories import make_account
from workers import heartbeat
from workers.heartbeat import Heartbeat


def test_a_claimed_job_cannot_be_claimed_again(desk: Desk) -> None:
    job = desk.submit()
    claim = desk.claim()
    assert (claim.job_id, claim.lease, claim.attempt) == (job.job_id, 1, 1)
    assert desk.find_work() is None
    running = desk.get(job.job_id)
    assert (running.status, running.attempt) == (Status.IN_PROGRESS, 1)
    assert running.started_at is not None


def test_eight_workers_run_each_of_a_hundred_jobs_once(desk: Desk) -> None:
    job_ids = sorted(desk.submit().job_id for _ in range(100))
    together = threading.Barrier(8)

    def work(worker: int) -> list[str]:
        together.wait()
        claims = iter(lambda: desk.find_work(worker=f"worker {worker}"), None)
        return [claim.job_id for claim in claims]

    with ThreadPoolExecutor(8) as workers:
        shares = list(workers.map(work, range(8)))
    assert sorted(job_id for share in shares for job_id in share) == job_ids
    assert len(desk.rows(schema.job_attempts)) == 100
    assert all(row["lease"] == row["attempt"] == 1 for row in desk.rows(schema.jobs))


def test_the_oldest_job_goes_first_and_a_higher_priority_before_it(desk: Desk) -> None:
    old, urgent, new = (desk.submit(priority=wanted) for wanted in (Priority.NORMAL, Priority.HIGH, Priority.NORMAL))
    assert [desk.claim().job_id for _ in range(3)] == [urgent.job_id, old.job_id, new.job_id]


def test_lanes_do_not_mix(desk: Desk) -> None:
    bulk = desk.submit(priority=Priority.LOW)
    assert desk.find_work(Lane.INTERACTIVE) is None
    assert desk.claim(Lane.BULK).job_id == bulk.job_id


def test_accounts_take_turns_however_much_one_of_them_has_queued(desk: Desk) -> None:
    others = [Desk(desk.database, desk.doorbell, make_account(desk.database)) for _ in range(2)]
    for _ in range(20):
        desk.submit(priority=Priority.HIGH)
    for _ in range(3):
        for other in others:
            other.submit()
    served = [desk.claim().account_id for _ in range(12)]
    numbers = [desk.account.account_id, *(other.account.account_id for other in others)]
    assert all(sorted(served[turn : turn + 3]) == sorted(numbers) for turn in (0, 3, 6))
    assert set(served[9:]) == {desk.account.account_id}


def test_a_job_that_is_run_again_takes_a_turn_as_well(desk: Desk) -> None:
    other = Desk(desk.database, desk.doorbell, make_account(desk.database))
    for _ in range(4):
        desk.submit()
    for _ in range(4):
        desk.retry(desk.claim())
    desk.elapse(10)
    for _ in range(4):
        other.submit()
    served = [desk.claim().account_id for _ in range(8)]
    assert all(len(set(served[turn : turn + 2])) == 2 for turn in range(0, 8, 2)), served


def test_an_account_that_has_enough_running_waits_while_others_go_on(desk: Desk) -> None:
    other = Desk(desk.database, desk.doorbell, make_account(desk.database))
    for _ in range(3):
        desk.submit()
    last = other.submit()

    def claim() -> str | None:
        claimed = jobs.claim(
            desk.database,
            Lane.INTERACTIVE,
            Company.BESIDE,
            worker="w",
            run_timeout=timedelta(seconds=60),
            most_running=2,
        )
        return claimed.job_id if isinstance(claimed, Claim) else None

    assert last.job_id in {claim() for _ in range(3)}
    assert claim() is None


def test_an_account_whose_only_job_is_paused_or_locked_does_not_hold_up_the_others(desk: Desk) -> None:
    other = Desk(desk.database, desk.doorbell, make_account(desk.database))
    paused, locked, free = desk.submit(), desk.submit(), other.submit()
    desk.change(
        sa.update(schema.jobs)
        .where(schema.jobs.c.job_id == uuid.UUID(paused.job_id))
        .values(available_at=sa.func.now() + timedelta(minutes=1))
    )
    with desk.database.transaction() as connection:
        connection.execute(sa.select(schema.jobs).filter_by(job_id=uuid.UUID(locked.job_id)).with_for_update())
        assert desk.claim().job_id == free.job_id
        assert desk.find_work() is None
    assert desk.claim().job_id == locked.job_id


def test_a_deep_queue_is_claimed_from_without_reading_it(desk: Desk) -> None:
    desk.submit()
    columns = [column.name for column in schema.jobs.c if column.name not in ("job_id", "idempotency_key")]
    copied = ", ".join(columns)
    with desk.database.transaction() as connection:
        connection.exec_driver_sql(
            f"INSERT INTO jobs ({copied}) SELECT {copied} FROM jobs, generate_series(1, 20000)"  # noqa: S608
        )
    with desk.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("VACUUM ANALYZE jobs")
        plan = connection.execute(
            sa.text("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) " + claims._CLAIM.text).bindparams(
                sa.bindparam("run_timeout", type_=sa.Interval)
            ),
            {
                "lane": "interactive",
                "alone": False,
                "worker": "w",
                "run_timeout": timedelta(seconds=60),
                "most_running": 9,
            },
        ).scalar_one()[0]["Plan"]
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 200, plan


def test_a_job_is_not_claimed_before_its_time_nor_after_its_deadline(desk: Desk) -> None:
    desk.submit()
    desk.elapse(-5)
    assert desk.find_work() is None
    desk.elapse(5 + 600 + 1)
    assert desk.find_work() is None


def test_every_claim_leaves_an_attempt_with_its_worker(desk: Desk) -> None:
    desk.submit()
    desk.claim(worker="host/1")
    desk.elapse(LEASE.total_seconds() + 1)
    assert desk.outcomes.rescue() == 1
    desk.claim(worker="host/2")
    attempts = sorted(desk.rows(schema.job_attempts), key=lambda row: row["lease"])
    assert [(row["lease"], row["worker"], row["outcome"]) for row in attempts] == [
        (1, "host/1", "crashed"),
        (2, "host/2", None),
    ]


def test_a_renewed_claim_is_kept_for_another_lease(desk: Desk) -> None:
    desk.submit()
    claim = desk.claim()
    for _ in range(4):
        desk.elapse(LEASE.total_seconds() - 1)
        assert desk.outcomes.rescue() == 0
        desk.renew(claim)
    assert desk.outcomes.succeed(claim, lambda connection: {})


def test_renewing_nothing_is_no_error(desk: Desk) -> None:
    desk.renew()


def test_a_lease_outlasts_several_missed_heartbeats() -> None:
    assert LEASE >= 4 * HEARTBEAT


def test_the_heartbeat_renews_what_is_held_and_no_longer(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT", HEARTBEAT / 100)
    desk.submit()
    claim = desk.claim()
    beating = Heartbeat(partial(jobs.renew, desk.database), run_timeout=timedelta(minutes=1))
    with beating.hold(claim):
        desk.elapse(LEASE.total_seconds() + 1)
        _wait_for_a_beat(desk)
        assert desk.outcomes.rescue() == 0
    desk.elapse(LEASE.total_seconds() + 1)
    threading.Event().wait(0.1)
    assert desk.outcomes.rescue() == 1


def test_the_heartbeat_survives_a_database_that_refuses(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "HEARTBEAT", HEARTBEAT / 100)
    desk.submit()
    claim = desk.claim()
    beating = Heartbeat(partial(jobs.renew, desk.database), run_timeout=timedelta(minutes=1))
    with beating.hold(claim):
        desk.change(sa.text("ALTER TABLE jobs RENAME COLUMN heartbeat_at TO renamed"))
        try:
            threading.Event().wait(0.1)
        finally:
            desk.change(sa.text("ALTER TABLE jobs RENAME COLUMN renamed TO heartbeat_at"))
        desk.elapse(LEASE.total_seconds() + 1)
        _wait_for_a_beat(desk)
        assert desk.outcomes.rescue() == 0


def test_the_heartbeat_does_not_wait_for_a_job_that_is_being_finished(desk: Desk) -> None:
    for _ in range(2):
        desk.submit()
    finishing, running = desk.claim(), desk.claim()
    desk.elapse(LEASE.total_seconds() + 1)
    with desk.database.transaction() as connection:
        assert claims.lock(connection, finishing) is False
        desk.renew(finishing, running)
    assert desk.outcomes.rescue() == 1  # the one that was locked, as its own transaction would not be
    assert desk.get(running.job_id).status is Status.IN_PROGRESS


def test_a_process_whose_job_hangs_for_good_ends_itself(database_url: str) -> None:
    script = f"""
import time
from datetime import timedelta
from functools import partial
from app.db.session import Database
from app.domain.jobs import Claim
from app.services import jobs
from workers import heartbeat
heartbeat.HEARTBEAT, heartbeat.GRACE_SECONDS = timedelta(seconds=0.05), 0.1
claim = Claim("00000000-0000-0000-0000-000000000000", 1, 1, 0, 1, "DetectFaces", {{}}, None, "interactive")
renew = partial(jobs.renew, Database({database_url!r}))
with heartbeat.Heartbeat(renew, run_timeout=timedelta(seconds=0.2)).hold(claim):
    time.sleep(20)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=15, check=False)
    assert ended.returncode == 70, ended.stderr


def _wait_for_a_beat(desk: Desk) -> None:
    fresh = sa.select(schema.jobs.c.heartbeat_at > sa.func.now() - LEASE)
    for _ in range(100):
        with desk.database.transaction() as connection:
            if connection.execute(fresh).scalar_one():
                return
        threading.Event().wait(0.03)
    raise AssertionError("the heartbeat does not beat")
