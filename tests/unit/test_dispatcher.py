"""Work is found by one thread and done by many: none is left, none is done twice, and no more is taken than can be done."""

import threading
import time

import pytest

from tests.patience import wait_until
from workers.dispatcher import Dispatcher


class Shelf:
    """Work that waits to be taken, and what was done of it."""

    def __init__(self, *waiting: str) -> None:
        self.waiting = list(waiting)
        self.asked: list[int] = []
        self.done: list[str] = []
        self.release = threading.Event()
        self.release.set()

    def take(self, count: int) -> list[str]:
        self.asked.append(count)
        taken, self.waiting = self.waiting[:count], self.waiting[count:]
        return taken

    def do(self, work: str) -> None:
        self.release.wait(5)
        if work == "bad":
            raise ValueError(work)
        self.done.append(work)


def test_what_waits_is_done_from_the_start_and_whenever_it_is_woken() -> None:
    shelf = Shelf("a", "b", "c")
    dispatcher = Dispatcher(shelf.take, shelf.do, threads=2)
    dispatcher.start()
    wait_until(lambda: sorted(shelf.done) == ["a", "b", "c"])
    shelf.waiting.append("d")
    dispatcher.wake()
    wait_until(lambda: shelf.done[3:] == ["d"])
    dispatcher.stop()


def test_no_more_is_taken_than_there_are_free_threads() -> None:
    shelf = Shelf(*"abcdef")
    shelf.release.clear()
    dispatcher = Dispatcher(shelf.take, shelf.do, threads=2)
    dispatcher.start()
    wait_until(lambda: len(shelf.waiting) == 4)
    dispatcher.wake()
    time.sleep(0.05)
    assert len(shelf.waiting) == 4
    shelf.release.set()
    wait_until(lambda: sorted(shelf.done) == list("abcdef"))
    assert max(shelf.asked) <= 2
    dispatcher.stop()


def test_an_idle_dispatcher_does_not_ask() -> None:
    shelf = Shelf()
    dispatcher = Dispatcher(shelf.take, shelf.do, threads=2)
    dispatcher.start()
    wait_until(lambda: len(shelf.asked) == 1)
    time.sleep(0.05)
    assert len(shelf.asked) == 1
    dispatcher.stop()


def test_the_end_of_work_wakes_it() -> None:
    shelf = Shelf("first")

    def do(work: str) -> None:
        if work == "first":
            shelf.waiting.append("second")  # it could not be taken before
        shelf.do(work)

    dispatcher = Dispatcher(shelf.take, do, threads=1)
    dispatcher.start()
    wait_until(lambda: shelf.done == ["first", "second"])
    dispatcher.stop()


def test_work_that_fails_and_a_search_that_fails_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf("bad", "good")
    failures = iter([ConnectionError("away")])

    def take(count: int) -> list[str]:
        for failure in failures:
            raise failure
        return shelf.take(count)

    dispatcher = Dispatcher(take, shelf.do, threads=1)
    dispatcher.start()
    wait_until(lambda: "dispatch_failed" in caplog.messages)
    dispatcher.wake()
    wait_until(lambda: shelf.done == ["good"])
    assert "dispatched_work_failed" in caplog.messages
    dispatcher.stop()


def test_a_stopped_dispatcher_finishes_what_it_took_and_takes_no_more() -> None:
    shelf = Shelf("a", "b")
    shelf.release.clear()
    dispatcher = Dispatcher(shelf.take, shelf.do, threads=1)
    dispatcher.start()
    wait_until(lambda: len(shelf.waiting) == 1)
    dispatcher.stop()
    shelf.release.set()
    wait_until(lambda: shelf.done == ["a"])
    dispatcher.wake()
    time.sleep(0.05)
    assert shelf.done == ["a"]
