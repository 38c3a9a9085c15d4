"""How a worker's cores are shared: what is urgent goes first, bulk work never stands still for good."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.domain.jobs import Lane
from workers import cores
from workers.cores import Cores


@pytest.mark.parametrize("lane", [Lane.INTERACTIVE, Lane.BULK])
def test_as_many_turns_are_held_at_once_as_there_are_cores(lane: Lane) -> None:
    shared, held, most = Cores(2), [], []

    def look() -> None:
        with shared.turn(lane):
            held.append(1)
            most.append(len(held))
            time.sleep(0.02)
            held.pop()

    with ThreadPoolExecutor(6) as pool:
        for _ in range(6):
            pool.submit(look)
    assert max(most) == 2


def line_up(shared: Cores, lanes: list[Lane]) -> list[Lane]:
    """Have turns asked for in this order while the only core is taken; give the order in which they were had."""
    had: list[Lane] = []

    def look(lane: Lane) -> None:
        with shared.turn(lane):
            had.append(lane)

    threads = []
    with shared.turn(Lane.INTERACTIVE):
        for lane in lanes:
            threads.append(threading.Thread(target=look, args=(lane,)))
            threads[-1].start()
            time.sleep(0.05)
    for thread in threads:
        thread.join(10)
    return had


def test_what_is_urgent_goes_before_bulk_work_that_came_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "PATIENCE_SECONDS", 30)
    shared = Cores(1)
    with shared.turn(Lane.BULK):
        pass
    assert line_up(shared, [Lane.BULK, Lane.INTERACTIVE, Lane.INTERACTIVE]) == [
        Lane.INTERACTIVE,
        Lane.INTERACTIVE,
        Lane.BULK,
    ]


@pytest.mark.parametrize("number", [1, 4])
def test_bulk_work_gets_a_turn_for_every_core_now_and_then_whatever_is_urgent(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(cores, "PATIENCE_SECONDS", 0.2 * number)
    shared, over = Cores(number), threading.Event()

    def press() -> None:
        while not over.is_set():
            with shared.turn(Lane.INTERACTIVE):
                time.sleep(0.005)

    with ThreadPoolExecutor(3 * number) as pool:
        for _ in range(3 * number):
            pool.submit(press)
        try:
            began = time.monotonic()
            for _ in range(4):
                with shared.turn(Lane.BULK):
                    pass
            taken = time.monotonic() - began
        finally:
            over.set()
    assert 0.5 < taken < 5


def test_a_look_that_raises_gives_its_turn_back() -> None:
    shared = Cores(1)
    with pytest.raises(ZeroDivisionError), shared.turn(Lane.BULK):
        raise ZeroDivisionError
    with shared.turn(Lane.INTERACTIVE):
        pass
