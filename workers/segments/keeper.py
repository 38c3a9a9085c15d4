"""The thread that opens and builds segments, so that no search ever waits for one.

On one machine one process builds at a time, and one segment; all others find its file when it is whole.
"""

import logging
import threading
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from app.db.session import Database
from app.errors import ServiceUnavailable
from workers.segments import builder, tidying
from workers.segments.folder import Folder
from workers.segments.layout import DamagedFile
from workers.segments.segment import Segment

log = logging.getLogger(__name__)

#: Between two looks at the files; a search that finds no segment has the next look taken at once.
_PAUSE_SECONDS = 1.0

#: Before what could not be built is tried again, and before the lock is asked for again that another process has.
_RETRY_SECONDS, _BUSY_SECONDS = 60.0, 3.0

#: Times as long as a build took, before the same segment is built again: bulk writes keep no core busy with that.
_REST = 9.0

#: Between two looks for files that should not be there any more.
_TIDY_SECONDS = 60.0

#: Searches within `_HOT_SECONDS` that make a collection worth a segment.
_HOT_SEARCHES, _HOT_SECONDS = 2, 600.0


@dataclass(slots=True)
class Wanted:
    """What somebody searches."""

    table: sa.Table
    collection_id: int
    since: float
    searches: int = 0
    not_before: float = 0.0


class Keeper:
    """Holds the segments of a process."""

    def __init__(self, database: Database, folder: Folder) -> None:
        self._database, self._folder = database, folder
        self._held: dict[Path, Segment] = {}
        self._wanted: dict[Path, Wanted] = {}
        self._rests: dict[Path, float] = {}
        self._stopping = False
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tidied_at = time.monotonic()

    def find(self, place: Path) -> Segment | None:
        """Give the segment of a file that is open."""
        return self._held.get(place)

    def start(self) -> None:
        """Look after the files from now on."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Open and build nothing more, after what is under way."""
        self._stopping = True
        self._woken.set()

    def want(self, place: Path, table: sa.Table, collection_id: int) -> None:
        """Say that a search would have liked a segment, or a newer one."""
        now = time.monotonic()
        with self._lock:
            wanted = self._wanted.get(place)
            if wanted is None or now - wanted.since > _HOT_SECONDS:
                wanted = self._wanted[place] = Wanted(table, collection_id, now)
            wanted.searches += 1
        self.start()
        self._woken.set()

    def _run(self) -> None:
        while not self._stopping:
            self._woken.wait(_PAUSE_SECONDS)
            self._woken.clear()
            try:
                if not self._stopping:
                    self._turn()
            except ServiceUnavailable:
                log.warning("postgres_unavailable", extra={"task": "segments"})
            except Exception as error:  # whatever it was: without this thread every search is a slow one
                log.warning("segments_failed", exc_info=error)
                time.sleep(_PAUSE_SECONDS)

    def _turn(self) -> None:
        """Open what is there, then build one segment at most."""
        for place, held in list(self._held.items()):
            inode = self._folder.inode(place)
            if inode is None:  # taken away
                del self._held[place]
            elif inode != held.inode:
                self._open(place)
        for place, wanted in self._open_wanted():
            ready_at = max(wanted.not_before, self._rests.get(place, 0.0))
            if wanted.searches >= _HOT_SEARCHES and time.monotonic() >= ready_at:
                self._build(place, wanted)
                break
        if time.monotonic() - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            tidying.tidy(self._database, self._folder)

    def _open_wanted(self) -> list[tuple[Path, Wanted]]:
        """Open what is wanted and there; give what is to be built."""
        with self._lock:
            waiting = list(self._wanted.items())
        missing = []
        for place, wanted in waiting:
            segment = self._held.get(place) or self._open(place)
            if segment is None or segment.is_stale:
                missing.append((place, wanted))
                continue
            with self._lock:
                self._wanted.pop(place, None)
        return missing

    def _open(self, place: Path) -> Segment | None:
        """Map a file in place of an earlier one."""
        try:
            opened = self._held[place] = Segment(place)
        except DamagedFile as error:
            log.warning("segment_damaged", extra={"segment": place.name, "reason": str(error)})
            self._folder.remove(place, "damaged")
        except OSError:  # there is none
            pass
        else:
            return opened
        self._held.pop(place, None)
        return None

    def _build(self, place: Path, wanted: Wanted) -> None:
        before = self._held.get(place)
        wanted.not_before = time.monotonic() + _BUSY_SECONDS
        with self._folder.lock() as is_ours:
            if not is_ours or self._folder.inode(place) != (None if before is None else before.inode):
                return  # another process builds, or has just built it
            wanted.not_before = time.monotonic() + _RETRY_SECONDS
            began = time.monotonic()
            has_room = partial(self._folder.make_room, but=place)
            head = builder.build(self._database, wanted.table, wanted.collection_id, place, has_room)
        seconds = time.monotonic() - began
        self._rests[place] = time.monotonic() + _REST * seconds
        fields = {"segment": place.name, "milliseconds": round(seconds * 1000)}
        if head is None:
            log.info("segment_not_built", extra=fields)
        else:
            log.info("segment_built", extra={**fields, "rows": head.count})
            self._woken.set()
