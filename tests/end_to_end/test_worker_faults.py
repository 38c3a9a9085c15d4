"""Workers and couriers that are killed or frozen in the middle of their work."""

import json
import signal

import pytest

from tests.faults.faulty import FaultyStack

pytestmark = pytest.mark.models


def test_a_busy_worker_takes_its_next_job_at_once(faulty: FaultyStack) -> None:
    backlog = [faulty.search() for _ in range(24)]
    for job_id in backlog:
        faulty.finished(job_id)
    ((span, busy),) = faulty.live.query(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8,"
        " extract(epoch FROM sum(finished_at - started_at))::float8"
        " FROM jobs WHERE job_id = ANY(%s::uuid[])",
        backlog,
    )
    threads = 2 * 2
    assert span < 3 * busy / threads + 0.5, "the threads were idle while jobs waited"
    faulty.assert_sound()


def test_a_job_whose_worker_is_killed_half_way_is_finished_once_by_another(faulty: FaultyStack) -> None:
    job_id = faulty.index_held("killed")
    faulty.send(signal.SIGKILL, faulty.worker_of(job_id))
    faulty.let_lease_run_out(job_id)
    faulty.until(lambda: faulty.times_fetched("killed") == 2, "another worker takes the job")
    faulty.pictures.release()
    job = faulty.finished(job_id)
    assert (job["Status"], job["Attempt"]) == ("SUCCEEDED", 2)
    assert faulty.outcomes(job_id) == ["crashed", "succeeded"]
    assert faulty.faces_named("killed") == 1
    faulty.assert_sound()
    assert len(faulty.messages_about(job_id)) == 1


def test_a_frozen_worker_that_wakes_after_its_job_was_finished_changes_nothing(faulty: FaultyStack) -> None:
    job_id = faulty.index_held("frozen")
    zombie = faulty.worker_of(job_id)
    faulty.send(signal.SIGSTOP, zombie)
    faulty.let_lease_run_out(job_id)
    faulty.until(lambda: faulty.times_fetched("frozen") == 2, "the other worker takes the job")
    faulty.pictures.release()
    faulty.finished(job_id)
    before = faulty.row(job_id)
    faulty.send(signal.SIGCONT, zombie)
    log = faulty.live.stack.directory.logs / f"{zombie}.log"
    lost = f'"job_id": "{job_id}", "operation": "IndexFaces", "attempt": 1, "outcome": "lease-lost"'
    faulty.until(lambda: lost in log.read_text(), "the woken worker throws its work away")
    assert faulty.row(job_id) == before
    assert faulty.outcomes(job_id) == ["crashed", "succeeded"]
    assert faulty.faces_named("frozen") == 1
    faulty.assert_sound()
    assert len(faulty.messages_about(job_id)) == 1


def test_a_job_that_kills_three_workers_fails_and_says_so(faulty: FaultyStack) -> None:
    job_id = faulty.index_held("poison")
    for deaths in (1, 2, 3):
        faulty.until(lambda deaths=deaths: faulty.times_fetched("poison") == deaths, "a worker takes the job")
        faulty.send(signal.SIGKILL, faulty.worker_of(job_id))
        faulty.let_lease_run_out(job_id)
    job = faulty.finished(job_id)
    faulty.pictures.release()
    assert (job["Status"], job["Error"]["Code"]) == ("FAILED", "InternalServerError")
    assert faulty.outcomes(job_id) == ["crashed"] * 3
    assert faulty.faces_named("poison") == 0
    faulty.assert_sound()
    (message,) = faulty.messages_about(job_id)
    body = json.loads(message.body)
    assert (body["type"], body["data"]["Error"]["Code"]) == ("job.failed", "InternalServerError")


def test_a_delivery_whose_courier_is_killed_arrives_again_with_the_same_id_and_bytes(faulty: FaultyStack) -> None:
    faulty.hooks.hold()
    job_id = faulty.search()
    faulty.until(lambda: faulty.messages_about(job_id), "the courier posts the webhook")
    faulty.send(signal.SIGKILL, "courier")
    faulty.let_deliveries_be_due()
    faulty.until(lambda: len(faulty.messages_about(job_id)) == 2, "the next courier posts it again")
    faulty.hooks.release()
    faulty.assert_sound()
    first, second = faulty.messages_about(job_id)
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert first.body == second.body
