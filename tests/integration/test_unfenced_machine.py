"""The state machine of jobs bites: a variant of the protocol that leaves one condition out is caught by it, each time.

Each variant is the product's own code but for that condition, on the same Postgres, driven by the same rules and looked at by
the same invariant as in `test_job_machine`.
"""

from datetime import timedelta

import pytest
import sqlalchemy as sa
from hypothesis import Phase
from sqlalchemy.engine import Connection

from app.db import claims
from app.db.schema import jobs
from app.domain.jobs import Claim, Status
from app.services.outcomes import Outcomes
from tests.desk import Desk
from tests.integration.test_job_machine import drive


def _lock_without_lease(connection: Connection, claim: Claim) -> bool | None:
    """Lock the row of a claimed job, whoever holds it by now: the fence is missing."""
    running = sa.select(jobs.c.cancel_requested_at.is_not(None)).where(
        jobs.c.job_id == sa.cast(claim.job_id, sa.Uuid), jobs.c.status == Status.IN_PROGRESS
    )
    return connection.execute(running.with_for_update()).scalar_one_or_none()


def _drive(desk: Desk) -> None:
    # The same examples each time, and no time spent on making the one that is found smaller.
    drive(desk, examples=60, steps=30, derandomize=True, database=None, phases=[Phase.generate], print_blob=False)


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
