"""Searches, writes and deletions go on while a collection moves: no instant at which a face is missed or found twice."""

import threading
import time
from dataclasses import replace

import numpy as np

from tests.factories import lookalikes
from tests.growing import ROUNDING, WANTED, Growing
from tests.moving import going_on

BAR = 0.5


class Crowd:
    """Faces that come and go while others stay."""

    def __init__(self, growing: Growing) -> None:
        self.growing = growing
        self.steady = {face_id for face_id, embedding in growing.stored.items() if embedding @ WANTED >= BAR + ROUNDING}
        self.present: set[str] = set()  # committed, and not about to be deleted
        self.gone: set[str] = set()
        self.searches = 0
        self._own: dict[int, list[str]] = {}

    def write(self) -> None:
        """Store two faces, and delete the two oldest of this thread."""
        mine = self._own.setdefault(threading.get_ident(), [])
        rng = np.random.default_rng()
        own = Growing(self.growing.database, self.growing.account)
        mine += own.store(lookalikes(rng, WANTED, 2))
        self.present |= set(mine[-2:])
        if len(mine) > 12:
            oldest = [mine.pop(0), mine.pop(0)]
            self.present -= set(oldest)
            own.stored |= dict.fromkeys(oldest, WANTED)
            own.delete(oldest)
            self.gone |= set(oldest)

    def search(self) -> None:
        """Find what was there before the search and after it, and nothing that was gone before; each once."""
        known, before, gone = self.growing.row, set(self.present), set(self.gone)
        found = self.growing.search(WANTED, BAR, known=known, limit=4096)
        assert len(found) == len(set(found))
        assert self.steady <= set(found)
        assert before & self.present <= set(found)
        assert not gone & set(found)
        self.searches += 1


def test_searches_miss_nothing_while_everything_goes_on(growing: Growing) -> None:
    growing.growth = replace(growing.growth, batch=2, capacity=40)
    crowd = Crowd(growing)
    with going_on(crowd.write, crowd.write, crowd.search, crowd.search) as failures:
        for _ in growing.steps():
            assert failures == []
        enough = crowd.searches + 20
        while crowd.searches < enough and not failures:
            time.sleep(0.01)
    assert failures == []
    assert growing.row.buckets[0] >= 100
    assert len(growing.row.buckets) > 1
    assert set(growing.per_bucket()) <= set(growing.row.buckets)
