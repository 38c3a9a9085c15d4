"""Leases: jobs of dead, hung and frozen workers are taken up again, and what a late worker brings changes nothing."""

from collections.abc import Callable

import pytest
import sqlalchemy as sa

from app.db import schema
from app.domain.jobs import LEASE, MAX_CRASHES, Claim, Company, Status
from app.errors import InvalidParameter
from tests.desk import WEBHOOK_URL, Desk

SILENCE = LEASE.total_seconds() + 1
GIVEN_UP = {
    "Code": "InternalServerError",
    "Message": "The request was given up: three workers died or hung while they were at it.",
    "Retryable": False,
}

Ending = Callable[[Desk, Claim], bool]
ENDINGS: dict[str, Ending] = {
    "succeed": lambda desk, claim: desk.outcomes.succeed(claim, lambda connection: {"FaceRecords": ["late"]}),
    "fail": lambda desk, claim: desk.outcomes.fail(claim, InvalidParameter("late")),
    "retry": lambda desk, claim: desk.retry(claim),
}
MEANWHILE: dict[str, Callable[[Desk], object]] = {
    "queued": lambda desk: None,
    "claimed": lambda desk: desk.claim(),
    "finished": lambda desk: desk.outcomes.succeed(desk.claim(), lambda connection: {"FaceRecords": []}),
    "failed": lambda desk: desk.outcomes.fail(desk.claim(), InvalidParameter()),
    "expired": lambda desk: (desk.elapse(601), desk.outcomes.expire()),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
@pytest.mark.parametrize("meanwhile", MEANWHILE.values(), ids=MEANWHILE)
def test_a_worker_that_lost_its_lease_changes_nothing(
    desk: Desk, ending: Ending, meanwhile: Callable[[Desk], object]
) -> None:
    desk.submit(webhook_url=WEBHOOK_URL)
    zombie = desk.claim()
    desk.elapse(SILENCE)
    assert desk.outcomes.rescue() == 1
    meanwhile(desk)
    before = desk.everything()
    assert ending(desk, zombie) is False
    desk.renew(zombie)
    assert desk.everything() == before


def test_the_work_of_a_late_worker_is_not_even_begun(desk: Desk) -> None:
    desk.submit()
    zombie = desk.claim()
    desk.elapse(SILENCE)
    desk.outcomes.rescue()
    begun = []
    desk.outcomes.succeed(zombie, lambda connection: begun.append(1) or {})
    assert begun == []


def test_a_late_heartbeat_does_not_renew_the_next_workers_lease(desk: Desk) -> None:
    desk.submit()
    zombie = desk.claim()
    desk.elapse(SILENCE)
    desk.outcomes.rescue()
    desk.claim()
    desk.elapse(SILENCE)
    desk.renew(zombie)
    assert desk.outcomes.rescue() == 1


def test_a_job_of_a_silent_worker_is_queued_again_at_once(desk: Desk) -> None:
    job = desk.submit()
    desk.claim()
    desk.elapse(LEASE.total_seconds() - 1)
    assert desk.outcomes.rescue() == 0
    desk.elapse(2)
    assert desk.outcomes.rescue() == 1
    assert desk.get(job.job_id).status is Status.QUEUED
    assert desk.attempts() == ["crashed"]
    again = desk.claim()
    assert (again.job_id, again.lease, again.attempt) == (job.job_id, 2, 2)


def test_a_job_that_kills_its_workers_fails_after_three(desk: Desk) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL)
    for _ in range(MAX_CRASHES - 1):
        desk.claim()
        desk.elapse(SILENCE)
        desk.outcomes.rescue()
        assert desk.get(job.job_id).status is Status.QUEUED
    desk.claim()
    desk.elapse(SILENCE)
    desk.outcomes.rescue()
    ended = desk.get(job.job_id)
    assert (ended.status, ended.attempt, ended.error) == (Status.FAILED, 3, GIVEN_UP)
    assert desk.attempts() == ["crashed"] * 3
    assert [row["type"] for row in desk.rows(schema.events)] == ["job.failed"]
    assert desk.find_work() is None


def test_a_job_whose_worker_died_is_given_to_who_is_alone_and_to_nobody_else(desk: Desk) -> None:
    neighbours = {desk.submit().job_id for _ in range(3)}
    for _ in neighbours:
        desk.claim()
    desk.elapse(SILENCE)
    assert desk.outcomes.rescue() == 3
    assert desk.look_for_work(Company.BESIDE) is Company.ALONE
    claims = [desk.look_for_work(Company.ALONE) for _ in neighbours]
    assert {claim.job_id for claim in claims if isinstance(claim, Claim)} == neighbours
    assert desk.look_for_work(Company.ALONE) is None


def test_a_job_that_may_run_beside_others_does_so_also_where_one_is_alone(desk: Desk) -> None:
    desk.submit()
    assert desk.look_for_work(Company.ALONE) is Company.BESIDE
    claim = desk.look_for_work(Company.BESIDE)
    assert isinstance(claim, Claim)
    desk.retry(claim)  # an error is no crash
    desk.elapse(5)
    assert isinstance(desk.look_for_work(Company.BESIDE), Claim)


def test_a_job_whose_worker_died_keeps_its_place_among_the_others(desk: Desk) -> None:
    first = desk.submit()
    desk.claim()
    desk.elapse(SILENCE)
    desk.outcomes.rescue()
    later = desk.submit()
    assert [desk.claim().job_id, desk.claim().job_id] == [first.job_id, later.job_id]


def test_a_repeated_submit_of_what_killed_its_workers_kills_no_more(desk: Desk) -> None:
    job = desk.submit(idempotency_key="k")
    for _ in range(MAX_CRASHES):
        desk.claim()
        desk.elapse(SILENCE)
        desk.outcomes.rescue()
    assert desk.submit(idempotency_key="k").job_id == job.job_id
    assert desk.find_work() is None


def test_a_hung_job_is_taken_although_its_worker_beats(desk: Desk) -> None:
    job = desk.submit()
    claim = desk.claim()
    for _ in range(6):
        desk.elapse(9.5)
        desk.renew(claim)
    assert desk.outcomes.rescue() == 0
    desk.elapse(4)
    desk.renew(claim)
    assert desk.outcomes.rescue() == 1
    assert desk.attempts() == ["timed-out"]
    assert desk.get(job.job_id).status is Status.QUEUED


def test_a_job_that_always_hangs_fails(desk: Desk) -> None:
    job = desk.submit()
    for _ in range(MAX_CRASHES):
        claim = desk.claim()
        desk.elapse(61)
        desk.renew(claim)
        assert desk.outcomes.rescue() == 1
    assert desk.get(job.job_id).error == GIVEN_UP
    assert desk.attempts() == ["timed-out"] * 3


def test_a_rescued_job_has_a_minute_to_start_again_although_it_started_late(desk: Desk) -> None:
    desk.submit()
    desk.elapse(599)
    desk.claim()
    desk.elapse(SILENCE)
    assert (desk.outcomes.rescue(), desk.outcomes.expire()) == (1, 0)
    desk.elapse(59)
    assert desk.outcomes.expire() == 0
    desk.elapse(2)
    assert desk.outcomes.expire() == 1


def test_two_sweepers_do_not_count_one_crash_twice(desk: Desk) -> None:
    desk.submit()
    desk.claim()
    desk.elapse(SILENCE)
    with desk.database.transaction() as connection:
        connection.execute(sa.select(schema.jobs.c.job_id).with_for_update())  # the other one is at it
        assert desk.outcomes.rescue() == 0
    assert desk.outcomes.rescue() == 1
    assert desk.outcomes.rescue() == 0
    assert [row["crashes"] for row in desk.rows(schema.jobs)] == [1]
