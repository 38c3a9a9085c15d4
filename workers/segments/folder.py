"""The folder of a machine's segments, which its workers share: names, the builder's lock, room.

Embeddings are biometric data: only the account that the workers run as can read the folder.
"""

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.segments.layout import HEAD_BYTES, DamagedFile, Head

log = logging.getLogger(__name__)

_SUFFIX, _UNFINISHED = ".segment", ".new"

#: What was searched this lately makes no room for anything else, so that two large collections do not drive each other out.
_IN_USE_SECONDS = 60.0

#: A use is noted this often.
_NOTED_SECONDS = 10.0


class Folder:
    """The files, at most so many bytes of them."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        self._path, self._most = path, most_bytes

    def place(self, collection_id: int, table: str, history: str) -> Path:
        """Give where the file of a collection's vectors in a search table belongs."""
        return self._path / f"{history}.{table}.{collection_id}{_SUFFIX}"

    @contextmanager
    def lock(self) -> Iterator[bool]:
        """Be the only one on this machine that builds or takes away; False where somebody else is."""
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(self._path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            for left in self._path.glob(f"*{_UNFINISHED}"):  # whoever wrote them has died
                left.unlink(missing_ok=True)
            yield True
        finally:
            os.close(file)

    def inode(self, place: Path) -> int | None:
        """Tell one file of a name from the next; None where there is none."""
        try:
            return place.stat().st_ino
        except OSError:
            return None

    def note_use(self, place: Path) -> None:
        """Note that a file is searched."""
        with suppress(OSError):
            if time.time() - place.stat().st_mtime > _NOTED_SECONDS:
                os.utime(place)

    def make_room(self, size: int, *, but: Path) -> bool:
        """Take away what was not searched for the longest time until a new file fits; False where that is too little.

        The file that is to be replaced takes no room.
        """
        found = sorted((path.stat().st_mtime, path.stat().st_size, path) for path in self.files() if path != but)
        free = self._most - size - sum(held for _, held, _ in found)
        for used, held, path in found:
            if free >= 0 or time.time() - used < _IN_USE_SECONDS:
                break
            self.remove(path, "room")
            free += held
        return free >= 0

    def remove(self, place: Path, reason: str) -> None:
        """Take a file away; who has mapped it lets go of it by and by."""
        place.unlink(missing_ok=True)
        log.info("segment_removed", extra={"segment": place.name, "reason": reason})

    def files(self) -> list[Path]:
        """List all files."""
        return list(self._path.glob(f"*{_SUFFIX}"))

    def heads(self) -> Iterator[tuple[Path, Head | None]]:
        """Give all files with their heads; None for what is no segment."""
        for path in self.files():
            try:
                with path.open("rb") as file:
                    yield path, Head.from_bytes(file.read(HEAD_BYTES))
            except DamagedFile:
                yield path, None
            except OSError:  # taken away meanwhile
                continue
