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
from workers.segments import builder, tidying
from workers.segments.folder import Folder
from workers.segments.layout import DamagedFile
from workers.segments.segment import Segment

log = logging.getLogger(__name__)

#: Between two looks at the files; a search that finds no segment has the next look taken at once.
_PAUSE_SECONDS = 1.0

#: Before what could not be built is tried again.
_RETRY_SECONDS = 60.0

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
        self._woken = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._tidied_at = time.monotonic()

    def find(self, place: Path) -> Segment | None:
        """Give the segment of a file that is open."""
        return self._held.get(place)

    def want(self, place: Path, table: sa.Table, collection_id: int) -> None:
        """Say that a search would have liked a segment, or a newer one."""
        now = time.monotonic()
        with self._lock:
            wanted = self._wanted.get(place)
            if wanted is None or now - wanted.since > _HOT_SECONDS:
                wanted = self._wanted[place] = Wanted(table, collection_id, now)
            wanted.searches += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="segments", daemon=True)
                self._thread.start()
        self._woken.set()

    def _run(self) -> None:
        while True:
            self._woken.wait(_PAUSE_SECONDS)
            self._woken.clear()
            try:
                self.turn()
            except Exception as error:  # whatever it was: without this thread every search is a slow one
                log.warning("segments_failed", exc_info=error)
                time.sleep(_PAUSE_SECONDS)

    def turn(self) -> None:
        """Look after every segment once."""
        for place in list(self._held):
            if self._folder.inode(place) != self._held[place].inode:  # replaced, or taken away
                del self._held[place]
        with self._lock:
            wanted = [(place, one) for place, one in self._wanted.items() if time.monotonic() >= one.not_before]
        for place, one in wanted:
            self._look_after(place, one)
        if time.monotonic() - self._tidied_at > _TIDY_SECONDS:
            self._tidied_at = time.monotonic()
            tidying.tidy(self._database, self._folder)

    def _look_after(self, place: Path, wanted: Wanted) -> None:
        segment = self._held.get(place) or self._open(place)
        if segment is not None and not segment.is_stale:
            self._forget(place)
            return
        if wanted.searches < _HOT_SEARCHES:
            return
        with self._folder.lock() as is_ours:
            before = None if segment is None else segment.inode
            if not is_ours or self._folder.inode(place) != before:  # another process builds it, or has just done so
                return
            wanted.not_before = time.monotonic() + _RETRY_SECONDS
            self._build(place, wanted)
        self._forget(place)

    def _open(self, place: Path) -> Segment | None:
        try:
            self._held[place] = Segment(place)
        except DamagedFile as error:
            log.warning("segment_damaged", extra={"segment": place.name, "reason": str(error)})
            self._folder.remove(place, "damaged")
        except OSError:  # there is none
            return None
        return self._held.get(place)

    def _build(self, place: Path, wanted: Wanted) -> None:
        began = time.monotonic()
        has_room = partial(self._folder.make_room, but=place)
        head = builder.build(self._database, wanted.table, wanted.collection_id, place, has_room)
        if head is None:
            log.info("segment_not_built", extra={"segment": place.name})
            return
        milliseconds = round((time.monotonic() - began) * 1000)
        log.info("segment_built", extra={"segment": place.name, "rows": head.count, "milliseconds": milliseconds})
        self._held.pop(place, None)
        self._open(place)

    def _forget(self, place: Path) -> None:
        with self._lock:
            wanted = self._wanted.get(place)
            if wanted is not None and place in self._held:
                del self._wanted[place]
