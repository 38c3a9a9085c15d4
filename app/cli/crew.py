"""Do many pictures with a few at a time under way; Ctrl-C lets those end and begins no other."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


class Crew:
    """A few threads; `stopped` once Ctrl-C was pressed. A second Ctrl-C ends the command at once."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._stop = threading.Event()

    @property
    def stopped(self) -> bool:
        """Whether the user wants to end."""
        return self._stop.is_set()

    def pause(self, seconds: float) -> bool:
        """Wait; False where the user wants to end meanwhile."""
        return not self._stop.wait(seconds)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C for a wish to end, once."""
        before = signal.signal(signal.SIGINT, self._interrupt)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        self._stop.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def do(self, work: Callable[[Work], Result], pieces: Iterable[Work]) -> Iterator[Result]:
        """Give results as they come; pieces are taken as threads become free, so never many are held.

        An error is raised last: whatever else is under way ends first, and its results are given.
        """
        errors: list[BaseException] = []
        with ThreadPoolExecutor(self._threads) as pool:
            running: set[Future[Result]] = set()
            for piece in pieces:
                if self.stopped or errors:
                    break
                running.add(pool.submit(work, piece))
                if len(running) >= 2 * self._threads:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from _results(done, errors)
            yield from _results(running, errors)
        if errors:
            raise errors[0]


def _results(futures: Iterable[Future[Result]], errors: list[BaseException]) -> Iterator[Result]:
    for future in futures:
        error = future.exception()
        if error is None:
            yield future.result()
        else:
            errors.append(error)
