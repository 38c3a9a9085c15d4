"""How a worker's threads are shared: bulk work never takes those of what somebody waits for."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from app.domain.jobs import SLOTS_PER_CORE
from workers.slots import Slots


def test_bulk_work_takes_its_own_threads_and_no_more() -> None:
    shared = Slots(1)
    with ExitStack() as taken:
        assert [taken.enter_context(shared.bulk()) for _ in range(SLOTS_PER_CORE)] == [True] * SLOTS_PER_CORE
        assert taken.enter_context(shared.bulk()) is False
        taken.enter_context(shared.urgent())
    with shared.bulk() as again:
        assert again


def test_an_urgent_job_too_many_waits_for_a_slot() -> None:
    shared, running, most = Slots(1), [], []

    def run() -> None:
        with shared.urgent():
            running.append(1)
            most.append(len(running))
            time.sleep(0.02)
            running.pop()

    with ThreadPoolExecutor(3 * SLOTS_PER_CORE) as pool:
        for _ in range(3 * SLOTS_PER_CORE):
            pool.submit(run)
    assert max(most) == SLOTS_PER_CORE
