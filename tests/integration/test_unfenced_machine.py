"""The state machine of jobs bites: a variant of the protocol that leaves one condition out is caught by it, each time.

Each variant is the product's own code but for that condition, on the same Postgres, driven by the same rules and looked at by
the same invariant as in `test_job_machine`.
"""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import Phase
from hypothesis.stateful import rule
from sqlalchemy.engine import Connection

from app.db import claims
from app.db.schema import jobs
from app.domain.jobs import Claim, Status
from app.services.outcomes import Outcomes
from tests.desk import Desk
from tests.integration.test_job_machine import JobMachine, drive


def _lock_without_lease(connection: Connection, claim: Claim) -> bool | None:
    """Lock the row of a claimed job, whoever holds it by now: the fence is missing."""
    running = sa.select(jobs.c.cancel_requested_at.is_not(None)).where(
        jobs.c.job_id == sa.cast(claim.job_id, sa.Uuid), jobs.c.status == Status.IN_PROGRESS
    )
    return connection.execute(running.with_for_update()).scalar_one_or_none()


class ZombieMachine(JobMachine):
    """The same, with workers that come back from the dead more often."""

    @rule()
    def end_what_was_taken_over(self) -> None:
        self.claim_and_freeze(taken_over=True)
        self.every_job_keeps_its_rules()
        if len(self.claims) > 1:
            self.succeed(worker=2)


def _drive(desk: Desk) -> None:
    # The same examples each time, and no time spent on making the one that is found smaller.
    quick = {"derandomize": True, "database": None, "phases": [Phase.generate], "report_multiple_bugs": False}
    drive(desk, examples=20, steps=30, machine=ZombieMachine, **quick)


def test_the_protocol_as_it_is_holds(desk: Desk) -> None:
    drive(desk, examples=5, steps=30, machine=ZombieMachine)


def test_an_ending_that_does_not_name_its_lease_is_caught(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "lock", _lock_without_lease)
    with pytest.raises(AssertionError):
        _drive(desk)


def test_a_lease_that_is_not_void_once_its_job_was_taken_back_is_caught(desk: Desk) -> None:
    desk.outcomes = _Hasty(desk.database, desk.doorbell, keep=timedelta(days=30))
    with pytest.raises(AssertionError):
        _drive(desk)


class _Hasty(Outcomes):
    """Gives a job that it takes back to the next worker under the same lease."""

    def rescue(self) -> int:
        rescued = super().rescue()
        with self._database.transaction() as connection:
            back = jobs.c.status == Status.QUEUED
            connection.execute(sa.update(jobs).where(back, jobs.c.lease > 0).values(lease=jobs.c.lease - 1))
        return rescued
