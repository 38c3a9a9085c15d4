"""One server is away for longer than a moment: what clients see meanwhile, and that nothing is lost.

REKOLLECT_FAULTS_AWAY sets the seconds for which a server is away.
"""

import os
import signal
import time

import pytest

from tests.faults.conftest import Shop
from tests.faults.customers import Customers
from tests.live import Answer

pytestmark = [pytest.mark.models, pytest.mark.faults]

AWAY = float(os.environ.get("REKOLLECT_FAULTS_AWAY", "10"))
PER_SECOND = 5.0

#: A refusal comes within this time, and the first success so soon after the server is back.
REFUSED_SECONDS, BACK_SECONDS = 2.0, 3.0


def work_through(
    shop: Shop, name: str, seconds: float, number: signal.Signals = signal.SIGKILL
) -> tuple[Customers, float]:
    """Submit jobs before, while and after a server is away; give the monotonic time at which it was back."""
    with shop.customers(jobs=int(PER_SECOND * (seconds + 6)), per_second=PER_SECOND) as customers:
        time.sleep(2.0)
        shop.fleet.kill(name, away=seconds, number=number)
        shop.fleet.wait(lambda: shop.fleet.names(name), seconds + 30, f"{name} is back")
        back_at = time.monotonic()
        shop.fleet.wait(lambda: not customers.busy, 60, "every client knows what came of its calls")
    return customers, back_at


def test_without_valkey_submits_are_accepted_and_jobs_run_all_the_same(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    customers, _ = work_through(shop, "valkey", AWAY)
    shop.check(customers)
    submit, job = customers.history.milliseconds(99), shop.percentile(99)
    with capsys.disabled():
        print(
            f"\n\nValkey away for {AWAY:g} s: {customers.history.outcomes()}, p99 {submit:.0f} ms, of a job {job:.1f} s"
        )
    assert {call.outcome for call in customers.history.calls} == {"ok"}
    assert job <= 10, "jobs wait for the doorbell"


def test_readiness_tells_that_valkey_is_away(shop: Shop) -> None:
    shop.fleet.kill("valkey", away=3)
    time.sleep(0.2)
    answer = shop.fleet.call("GET", "/readyz")
    assert (answer.status, answer.json["status"]) == (200, "degraded")
    shop.fleet.wait(lambda: shop.fleet.call("GET", "/readyz").json["status"] == "ready", 30, "it is ready again")


def test_valkey_wiped_again_and_again_costs_seconds_and_no_second_run(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    with shop.customers(jobs=80, per_second=PER_SECOND) as customers:
        while customers.busy:
            shop.fleet.kill("valkey", away=0.0)
            end = time.monotonic() + 1.5
            shop.fleet.wait(lambda end=end: time.monotonic() > end, 30, "a moment passes")
    aftermath = shop.check(customers)
    with capsys.disabled():
        print(
            f"\n\nValkey wiped every 1.5 s: p99 of a job {shop.percentile(99):.1f} s, {shop.percentile(100):.1f} s at most"
        )
    assert aftermath.ask("SELECT job_id FROM jobs WHERE attempt <> 1") == []


def test_without_postgres_every_submit_is_refused_soon_and_well(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.fleet.wait(shop.fleet.is_ready, 30, "the fleet is ready")
    pids = {name: child.pid for name, child in shop.fleet.children.items()}
    with shop.customers(jobs=int(PER_SECOND * (AWAY + 6)), per_second=PER_SECOND) as customers:
        time.sleep(2.0)
        shop.fleet.kill("postgres", away=AWAY, number=signal.SIGQUIT)
        time.sleep(0.5)
        refused = [_submit(shop) for _ in range(5)]
        shop.fleet.wait(lambda: shop.fleet.names("postgres"), AWAY + 30, "Postgres is back")
        back_at = time.monotonic()
        shop.fleet.wait(lambda: not customers.busy, 60, "every client knows what came of its calls")
    shop.check(customers)
    first = min(call.ended for call in customers.history.calls if call.outcome == "ok" and call.began > back_at - AWAY)
    slowest = max(seconds for seconds, _ in refused)
    with capsys.disabled():
        print(
            f"\n\nPostgres away for {AWAY:g} s: {customers.history.outcomes()}, refused in {slowest:.2f} s at most,",
            end=" ",
        )
        print(f"first success {first - back_at:.1f} s after it was back")
    for seconds, answer in refused:
        assert answer.status == 503, answer
        assert answer.headers["content-type"] == "application/problem+json"
        assert int(answer.headers["retry-after"]) >= 1
        assert seconds <= REFUSED_SECONDS
    assert first - back_at <= BACK_SECONDS
    assert {name: child.pid for name, child in shop.fleet.children.items()} == pids, "no process dies of it"


def _submit(shop: Shop) -> tuple[float, Answer]:
    began = time.monotonic()
    answer = shop.fleet.submit("SearchFaces", {"CollectionId": "people", "FaceId": shop.trade.face_id})
    return time.monotonic() - began, answer
