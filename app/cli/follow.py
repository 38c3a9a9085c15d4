"""Follow a batch over HTTP: read what has ended, piece by piece, until it is done or the user has seen enough."""

from collections.abc import Iterator
from typing import Any

from app.cli.client import Client, Refused, Unreachable
from app.cli.crew import Crew

_PIECE = 1000
_PAUSE_SECONDS = 1.0

#: An API that does not answer is asked again so often before the command gives up.
_TRIES = 30


class Followed:
    """A batch and its newest state."""

    def __init__(self, client: Client, crew: Crew, batch: dict[str, Any]) -> None:
        self.batch = batch
        self._client = client
        self._crew = crew
        self._failures = 0

    def lines(self) -> Iterator[dict[str, Any] | None]:
        """Give each item that has ended, and None whenever there is nothing to read at present."""
        after = 0
        while not self._crew.stopped:
            done = self.batch["Done"]
            piece, after_this = self._read(after)
            yield from piece
            if done and not piece:
                return
            if len(piece) < _PIECE:
                yield None
                self._crew.pause(0 if done else _PAUSE_SECONDS)
                self._look()
            after = after_this

    def _read(self, after: int) -> tuple[list[dict[str, Any]], int]:
        try:
            found = self._client.read_lines(self.batch["Links"]["Results"], after=after, most=_PIECE)
        except (Refused, Unreachable) as error:
            self._forgive(error)
            return [], after
        self._failures = 0
        return found

    def _look(self) -> None:
        try:
            self.batch = self._client.call("GET", self.batch["Links"]["Self"])
        except (Refused, Unreachable) as error:
            self._forgive(error)

    def _forgive(self, error: Refused | Unreachable) -> None:
        self._failures += 1
        if self._failures >= _TRIES or (isinstance(error, Refused) and error.retry_after is None):
            raise error
