"""What `rekollect index` remembers of a folder, so that running it again goes on where it was.

A line for each picture that was indexed, appended as it ends: a command that is killed loses none. A picture counts as the same
while its size and its time of change are. Notes are bound to one collection as it was made; a new one of that name has none.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import TextIO

from app.cli.pictures import Picture

State = list[int]


class Notes:
    """Knows which pictures are done; used as a context, by one thread."""

    def __init__(self, folder: Path, *bound_to: str) -> None:
        digest = hashlib.sha256(json.dumps(bound_to).encode()).hexdigest()
        self.path = folder / "index" / f"{digest[:32]}.jsonl"
        self._known: dict[str, State] = {}
        self._file: TextIO | None = None

    def __enter__(self) -> "Notes":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.exists():
            for line in self.path.read_text(encoding="utf-8").splitlines():
                self._learn(line)
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, _: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def knows(self, picture: Picture, external_id: str) -> bool:
        """Tell whether this picture, as it is now, was indexed under this id; one that is gone is not known."""
        try:
            return self._known.get(_name(picture, external_id)) == state(picture.path.stat())
        except OSError:
            return False

    def add(self, picture: Picture, external_id: str, read: State) -> None:
        """Note that a picture was indexed, in the state in which it was read."""
        if self._file is not None:
            self._file.write(json.dumps([_name(picture, external_id), read]) + "\n")
            self._file.flush()

    def _learn(self, line: str) -> None:
        try:
            name, state = json.loads(line)
        except ValueError:
            return  # the last line of a command that was killed
        self._known[name] = state


def _name(picture: Picture, external_id: str) -> str:
    return f"{picture.name}\n{external_id}"


def state(status: os.stat_result) -> State:
    """Give what of a file changes with its content: its size, and when it changed."""
    return [status.st_size, status.st_mtime_ns]
