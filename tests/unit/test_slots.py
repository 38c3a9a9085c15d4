"""How a worker's threads are shared: what is urgent starts at once, bulk work makes way and never stands still for good."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from workers import slots
from workers.slots import Slots


def test_bulk_work_takes_one_thread_more_than_there_are_slots() -> None:
    shared = Slots(2)
    with ExitStack() as taken:
        assert [taken.enter_context(shared.bulk()) for _ in range(4)] == [True, True, True, False]
    with shared.bulk() as again:
        assert again


def test_an_item_waits_while_something_urgent_needs_the_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PATIENCE_SECONDS", 30)
    shared, begun = Slots(2), threading.Event()

    def run_item() -> None:
        with shared.item():
            begun.set()

    with ThreadPoolExecutor(1) as pool, shared.item():
        with shared.urgent():
            assert shared.is_crowded()
            waiting = pool.submit(run_item)
            assert not begun.wait(0.1)
        waiting.result(timeout=5)
    assert begun.is_set()


def test_an_item_that_alone_runs_beside_what_is_urgent_does_not_wait() -> None:
    shared = Slots(2)
    with shared.urgent(), shared.item():
        assert shared.is_crowded()
    assert not shared.is_crowded()


def test_an_item_loses_its_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "PATIENCE_SECONDS", 0.05)
    shared = Slots(1)
    began = time.monotonic()
    with shared.urgent(), shared.item():
        assert 0.05 <= time.monotonic() - began < 5


@pytest.mark.parametrize("kind", ["urgent", "item"])
def test_as_many_of_a_kind_run_at_once_as_there_are_slots(kind: str) -> None:
    shared, running, most = Slots(2), [], []

    def run() -> None:
        with getattr(shared, kind)():
            running.append(1)
            most.append(len(running))
            time.sleep(0.02)
            running.pop()

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(run)
    assert max(most) == 2
