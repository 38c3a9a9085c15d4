"""Whatever happens in whatever order, a job keeps its rules: a state machine drives the services on a real database.

After every step each row is compared with what it was before: its status moved along `domain.jobs.TRANSITIONS` or not at
all, what has ended stays as it is, and events, images and results are there exactly when they should be.

Time passes only where a rule says so, by multiples of 0.7 s: no sum of them meets a pause or a lease. What a step takes is
put back, or a slow machine would go another way than the same steps went before, and Hypothesis calls that a flaw.
"""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from app.db import schema
from app.domain.jobs import MAX_CRASHES, TERMINAL, TRANSITIONS, Claim, Priority, Status, event_type
from app.errors import IdempotentParameterMismatch, InternalServerError, InvalidParameter
from app.services import jobs
from tests.desk import WEBHOOK_URL, Desk

Rows = dict[uuid.UUID, dict[str, Any]]

#: What never changes once a job has ended; moments are left out, because the test moves them.
FROZEN = ("status", "result", "error", "lease", "attempt", "crashes", "input", "idempotency_key")
#: Which worker does something: the one that claimed last, or one whose claim may be void by now.
workers = st.sampled_from([1, 1, 2, 3])


class JobMachine(RuleBasedStateMachine):
    """Clients, workers, the sweeper and time, all at once."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk
        self.claims: list[Claim] = []
        self.rows: Rows = {}
        self.stopped_at = time.monotonic()
        desk.change(sa.delete(schema.jobs))

    def open_jobs(self) -> list[uuid.UUID]:
        return [job_id for job_id, row in self.rows.items() if row["status"] not in TERMINAL]

    def claim_of(self, worker: int) -> Claim:
        return self.claims[-min(worker, len(self.claims))]

    def holds(self, claim: Claim) -> bool:
        row = self.rows.get(uuid.UUID(claim.job_id))
        return row is not None and row["status"] == Status.IN_PROGRESS and row["lease"] == claim.lease

    @contextmanager
    def ending(self, claim: Claim) -> Iterator[list[bool]]:
        """Check that an ending says True exactly when the claim was the newest one of a running job."""
        held = self.holds(claim)
        answer: list[bool] = []
        yield answer
        assert answer == [held]

    # Few jobs at a time: then what happens to one of them often has a history.
    @precondition(lambda self: len(self.open_jobs()) < 2)
    @rule(webhook=st.booleans(), priority=st.sampled_from([Priority.HIGH, Priority.NORMAL]))
    def submit(self, webhook: bool, priority: Priority) -> None:
        self.desk.submit(webhook_url=WEBHOOK_URL if webhook else None, priority=priority)

    @precondition(lambda self: len(self.open_jobs()) < 2)
    @rule(key=st.sampled_from("ab"), operation=st.sampled_from(["IndexFaces", "SearchFacesByImage"]))
    def submit_with_a_key(self, key: str, operation: str) -> None:
        known = next((row for row in self.rows.values() if row["idempotency_key"] == key), None)
        try:
            job = self.desk.submit(idempotency_key=key, operation=operation)
        except IdempotentParameterMismatch:
            assert known is not None
            assert known["operation"] != operation
        else:
            assert known is None or str(known["job_id"]) == job.job_id

    @rule()
    def claim(self) -> None:
        claim = self.desk.find_work()
        if claim is not None:
            assert self.rows[uuid.UUID(claim.job_id)]["status"] == Status.QUEUED
            self.claims.append(claim)

    @rule(taken_over=st.booleans())
    def claim_and_freeze(self, taken_over: bool) -> None:
        self.claim()
        self.every_job_keeps_its_rules()
        self.rescue(silence=16.1)
        if taken_over:
            self.every_job_keeps_its_rules()
            self.claim()

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def succeed(self, worker: int) -> None:
        claim = self.claim_of(worker)
        with self.ending(claim) as answer:
            answer.append(self.desk.outcomes.succeed(claim, lambda connection: {"By": claim.lease}))

    @precondition(lambda self: self.claims)
    @rule(worker=workers, error=st.sampled_from([InvalidParameter, InternalServerError]))
    def fail(self, worker: int, error: type[InvalidParameter]) -> None:
        claim = self.claim_of(worker)
        with self.ending(claim) as answer:
            answer.append(self.desk.outcomes.fail(claim, error()))

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def retry(self, worker: int) -> None:
        claim = self.claim_of(worker)
        with self.ending(claim) as answer:
            answer.append(self.desk.retry(claim))

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def break_half_way(self, worker: int) -> None:
        def complete(_: object) -> dict[str, Any]:
            raise ZeroDivisionError

        claim = self.claim_of(worker)
        # What its caller canceled is ended as such, and the writes that would break never begin.
        canceled = self.holds(claim) and self.rows[uuid.UUID(claim.job_id)]["cancel_requested_at"] is not None
        with suppress(ZeroDivisionError):
            assert self.desk.outcomes.succeed(claim, complete) is canceled

    @precondition(lambda self: self.claims)
    @rule(worker=workers)
    def beat(self, worker: int) -> None:
        self.desk.renew(*self.claims[-worker:])

    @rule(seconds=st.sampled_from([0.7, 2.1, 4.9, 61.6]))
    def elapse(self, seconds: float) -> None:
        self.desk.elapse(seconds)

    @rule(silence=st.sampled_from([0, 16.1]))
    def rescue(self, silence: float) -> None:
        self.desk.elapse(silence)
        self.desk.outcomes.rescue()

    @rule(seconds=st.sampled_from([0, 0, 601.3]))
    def expire(self, seconds: float) -> None:
        self.desk.elapse(seconds)
        self.desk.outcomes.expire()

    @precondition(lambda self: self.rows)
    @rule(choice=st.integers(0, 100))
    def cancel(self, choice: int) -> None:
        job_id = sorted(self.rows)[choice % len(self.rows)]
        was = self.rows[job_id]
        job = self.desk.outcomes.cancel(self.desk.account.account_id, str(job_id))
        assert job is not None
        wanted = {Status.QUEUED: Status.CANCELED}.get(Status(was["status"]), was["status"])
        assert job.status == wanted
        assert (job.cancel_requested_at is not None) == (
            was["status"] == Status.IN_PROGRESS or was["cancel_requested_at"] is not None
        )

    @rule()
    def ring_again(self) -> None:
        jobs.ring_again(self.desk.database, self.desk.doorbell)

    @rule()
    def purge(self) -> None:
        ended = [row for row in self.rows.values() if row["status"] in TERMINAL]
        assert jobs.purge(self.desk.database) == 0
        self.desk.elapse(31 * 86_400)
        assert jobs.purge(self.desk.database) == len(ended)
        self.rows = {job_id: row for job_id, row in self.rows.items() if row not in ended}

    @invariant()
    def no_time_passes(self) -> None:
        self.desk.elapse(self.stopped_at - time.monotonic())
        self.stopped_at = time.monotonic()

    @invariant()
    def every_job_keeps_its_rules(self) -> None:
        stored, blobs, events, deliveries = self.desk.tables(
            schema.jobs, schema.blobs, schema.events, schema.deliveries
        )
        rows: Rows = {row["job_id"]: row for row in stored}
        assert rows.keys() >= self.rows.keys()
        for job_id, row in rows.items():
            _check_step(self.rows.get(job_id), row)
        self.rows = rows
        ended = {job_id for job_id, row in rows.items() if row["status"] in TERMINAL}
        assert {row["job_id"] for row in blobs} == rows.keys() - ended
        told = {job_id: event_type(Status(rows[job_id]["status"])) for job_id in ended if rows[job_id]["webhook_url"]}
        assert {row["job_id"]: row["type"] for row in events} == told
        assert len(events) == len(deliveries) == len(told)


def _check_step(before: dict[str, Any] | None, row: dict[str, Any]) -> None:
    """Check one row by itself, and against what it was a step earlier."""
    status = Status(row["status"])
    assert (row["result"] is not None) == (status is Status.SUCCEEDED)
    assert row["result"] is None or row["result"]["By"] == row["lease"], (
        "the result of a worker that had lost its lease"
    )
    assert (row["error"] is not None) == (status in {Status.FAILED, Status.EXPIRED})
    if row["cancel_requested_at"] is not None:
        assert status in {Status.IN_PROGRESS, Status.CANCELED}
    assert row["crashes"] <= MAX_CRASHES - 1
    assert row["lease"] == row["attempt"]
    if row["error"] is not None and row["error"]["Retryable"]:
        assert row["idempotency_key"] is None
    if before is None:
        assert status is Status.QUEUED
        return
    was = Status(before["status"])
    assert status is was or status in TRANSITIONS[was]
    if was in TERMINAL:
        assert [row[name] for name in FROZEN] == [before[name] for name in FROZEN]


def drive(desk: Desk, *, examples: int, steps: int, machine: type[JobMachine] = JobMachine, **options: Any) -> None:
    """Run a machine on a desk; `options` are Hypothesis's."""
    checks = list(HealthCheck)
    chosen = settings(max_examples=examples, stateful_step_count=steps, suppress_health_check=checks, **options)
    run_state_machine_as_test(lambda: machine(desk), settings=chosen)


def test_a_job_keeps_its_rules_whatever_happens(desk: Desk) -> None:
    drive(desk, examples=15, steps=30)


@pytest.mark.bench
def test_a_job_keeps_its_rules_over_more_than_five_thousand_steps(desk: Desk) -> None:
    drive(desk, examples=150, steps=50)
