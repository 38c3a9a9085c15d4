"""Every process is asked to end in its turn, under load: no request is lost, no job is run twice, nobody takes long to end."""

import os
import signal
import time

import pytest

from tests.faults.conftest import Shop

pytestmark = pytest.mark.models

PER_SECOND = 6.0

#: A process that was asked to end has ended after this long.
EXIT_SECONDS = 30.0

#: Rounds through all processes.
ROUNDS = int(os.environ.get("REKOLLECT_FAULTS_ROUNDS", "1"))


def restart(shop: Shop, name: str) -> float:
    """Ask a process to end and start it again; give the seconds that it took to end."""
    fleet = shop.fleet
    child = fleet.children[name]
    said = child.log.read_text().count("worker_ready")
    began = time.monotonic()
    child.ask_to_stop()
    while child.pid is not None:
        assert time.monotonic() - began < EXIT_SECONDS, f"{name} does not end"
        time.sleep(0.05)
    took = time.monotonic() - began
    fleet.tend()
    if name.startswith(("worker", "courier")):
        fleet.wait(lambda: child.log.read_text().count("worker_ready") > said, 60, f"{name} is ready again")
    return took


def test_nothing_is_lost_or_run_again_while_all_processes_are_started_anew(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    with shop.customers(jobs=100_000, per_second=PER_SECOND) as customers:
        took = {name: restart(shop, name) for _ in range(ROUNDS) for name in shop.fleet.children}
        customers.hurry()
    aftermath = shop.check(customers)
    with capsys.disabled():
        jobs = len(customers.history.accepted())
        print(f"\n\n{jobs} jobs, {customers.history.outcomes()}; seconds to end: {took}")
        print(f"p99 of a submit {customers.history.milliseconds(99):.0f} ms, of a job {shop.percentile(99):.1f} s")
    assert {call.outcome for call in customers.history.calls} == {"ok"}
    assert aftermath.ask("SELECT job_id FROM jobs WHERE attempt <> 1") == []


@pytest.mark.faults
def test_all_api_processes_may_end_at_once(shop: Shop) -> None:
    with shop.customers(jobs=40, per_second=20) as customers:
        for name in shop.fleet.names("api"):
            shop.fleet.kill(name, away=1.0, number=signal.SIGTERM)
        shop.fleet.wait(lambda: not customers.busy, 60, "the API is there again")
    shop.check(customers)
    assert {call.outcome for call in customers.history.calls} == {"ok"}, customers.history.outcomes()
