"""Valkey, Postgres, the API and beat die while jobs are under way."""

import signal
import threading
import time
import uuid
from collections.abc import Callable

import pytest

from tests.faults.faulty import FaultyStack

pytestmark = pytest.mark.models

WORKERS = ("worker-1", "worker-2")


def test_jobs_whose_doorbells_were_wiped_are_all_run_once_within_seconds(faulty: FaultyStack) -> None:
    alive = faulty.send(signal.SIGSTOP, *WORKERS)
    waiting = [faulty.search() for _ in range(30)]
    (wiped,) = faulty.send(signal.SIGKILL, "valkey")
    faulty.until(lambda: faulty.live.pids["valkey"] != wiped, "the supervisor starts an empty Valkey")
    faulty.send(signal.SIGCONT, *WORKERS)
    faulty.until(lambda: all(faulty.row(job_id)["done"] for job_id in waiting), "every job ends", seconds=15)
    assert [faulty.outcomes(job_id) for job_id in waiting] == [["succeeded"]] * 30
    faulty.assert_sound()
    assert [len(faulty.messages_about(job_id)) for job_id in waiting] == [1] * 30
    assert [faulty.live.pids[name] for name in WORKERS] == alive, "no worker dies of a lost Valkey"


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "frozen"])
def test_without_valkey_submits_stay_quick_and_the_jobs_run_all_the_same(
    faulty: FaultyStack, fault: signal.Signals
) -> None:
    (gone,) = faulty.send(fault, "valkey")
    try:
        seconds = [_seconds(faulty.search) for _ in range(5)]
        ready = faulty.live.call("GET", "/readyz")
        if fault is signal.SIGSTOP:  # nobody starts it again, so the workers look into Postgres themselves
            assert {faulty.live.finished(job_id)["Status"] for job_id in faulty.accepted[-5:]} == {"SUCCEEDED"}
    finally:
        faulty.send(signal.SIGCONT, "valkey")
    assert max(seconds) < 2.0, seconds
    assert max(seconds[1:]) < 0.3, seconds
    assert (ready.status, ready.json["status"]) == (200, "degraded")
    for job_id in faulty.accepted[-5:]:
        assert faulty.finished(job_id)["Status"] == "SUCCEEDED"
    faulty.assert_sound()
    assert faulty.live.call("GET", "/readyz").json["status"] == "ready"
    assert (faulty.live.pids["valkey"] != gone) == (fault is signal.SIGKILL)


def test_without_valkey_slow_pictures_hold_up_no_other_job(faulty: FaultyStack) -> None:
    faulty.send(signal.SIGSTOP, "valkey")
    try:
        held = [faulty.index_held(f"slow-{number}") for number in range(len(WORKERS) + 1)]
        quick = faulty.search()
        faulty.until(lambda: faulty.row(quick)["done"], "a job ends beside pictures that do not come")
        assert not any(faulty.row(job_id)["done"] for job_id in held)
    finally:
        faulty.send(signal.SIGCONT, "valkey")
        faulty.pictures.release()
    faulty.assert_sound()


def _seconds(call: Callable[[], object]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


def test_a_job_goes_on_while_the_api_and_beat_are_killed(faulty: FaultyStack) -> None:
    job_id = faulty.index_held("orphaned")
    dead = faulty.send(signal.SIGKILL, "api", "beat")
    faulty.until(lambda: not {faulty.live.pids["api"], faulty.live.pids["beat"]} & set(dead), "both start again")
    faulty.until(faulty.live.stack.ready, "the api serves again")
    assert faulty.live.call("GET", f"/v1/jobs/{job_id}").json["Status"] == "IN_PROGRESS"
    faulty.pictures.release()
    assert faulty.finished(job_id)["Status"] == "SUCCEEDED"
    assert faulty.outcomes(job_id) == ["succeeded"]
    faulty.assert_sound()


class Submitter:
    """Submits searches in a thread, each with a key of its own, and remembers how each was answered."""

    def __init__(self, faulty: FaultyStack) -> None:
        self.answers: dict[str, int] = {}
        self._faulty = faulty
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._submit)

    def __enter__(self) -> "Submitter":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _submit(self) -> None:
        while not self._stop.wait(0.1):
            key = str(uuid.uuid4())
            self.answers[key] = self._faulty.try_search(key)

    def settled(self) -> dict[str, int]:
        """Repeat what failed with the same keys, as a client would."""
        return {key: status if status == 202 else self._faulty.try_search(key) for key, status in self.answers.items()}


def test_a_killed_postgres_costs_failed_submits_but_no_accepted_job(faulty: FaultyStack) -> None:
    with Submitter(faulty) as submitter:
        time.sleep(1.0)
        (dead,) = faulty.send(signal.SIGKILL, "postgres")
        time.sleep(1.0)
        faulty.until(lambda: faulty.live.pids["postgres"] != dead, "the supervisor starts it again")
        time.sleep(1.0)
    statuses = set(submitter.answers.values())
    assert 202 in statuses
    assert statuses - {202}, "some submits met no database"
    assert statuses - {202} <= {500, 503}
    assert set(submitter.settled().values()) <= {200, 202}
    faulty.until(faulty.live.stack.ready, "the api is ready")
    for job_id in faulty.accepted:
        faulty.finished(job_id)
    faulty.let_deliveries_be_due()  # a courier that posted but could not write it down left its delivery
    faulty.assert_sound()
