"""In whose company work runs in its process: work of which a worker died runs alone, because it may be what killed it.

So a death is blamed on the one that caused it: what merely ran beside it is done by the next attempt, however often its
neighbours kill. Work is taken once its place is held, so nobody waits for a place with a lease in his hands.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from app.domain.jobs import Company


class Places:
    """Gives places in a process to its threads: to any number beside each other, or to one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._taken = 0
        self._is_alone = False
        self._awaiting = 0

    @property
    def are_awaited(self) -> bool:
        """Whether work beside others keeps a thread waiting that is to be alone, so that it had better end soon."""
        return self._awaiting > 0 and not self._is_alone

    def run(self, attempt: Callable[[Company], bool | Company]) -> bool:
        """Attempt something beside others, and anew in the company that it asks for; give whether there was anything to do."""
        company = Company.BESIDE
        while True:
            with self._alone() if company is Company.ALONE else self._beside():
                answer = attempt(company)
            if not isinstance(answer, Company):
                return answer
            company = answer

    @contextmanager
    def _beside(self) -> Iterator[None]:
        with self._changed:
            # Who waits to be alone goes first, or would wait as long as there is work.
            self._changed.wait_for(lambda: not self._is_alone and not self._awaiting)
            self._taken += 1
        try:
            yield
        finally:
            with self._changed:
                self._taken -= 1
                self._changed.notify_all()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._changed:
            self._awaiting += 1
            try:
                self._changed.wait_for(lambda: not self._is_alone and not self._taken)
            finally:
                self._awaiting -= 1
            self._is_alone = True
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()
