"""Whatever happens to a collection, a search through segments finds what float32 brute force finds."""

from collections.abc import Callable

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import schema
from app.services.growth import Growth
from tests.factories import lookalikes, random_embeddings
from tests.keeping import Kept, Worker

THRESHOLDS = (0.3, 0.38, 0.5, 0.6, 0.75, 0.9)
LIMITS = (1, 5, 100, 4096)


def somebody(kept: Kept, rng: np.random.Generator) -> np.ndarray:
    """Make another picture of somebody stored."""
    stored = list(kept.stored.values())
    return lookalikes(rng, stored[rng.integers(len(stored))], 1, rng.uniform(0.01, 0.12))[0]


def check(kept: Kept, rng: np.random.Generator, times: int = 4) -> None:
    for _ in range(times):
        query = somebody(kept, rng)
        kept.check(query, rng.choice(THRESHOLDS))
        kept.check_nearest(query, rng.choice(THRESHOLDS), int(rng.choice(LIMITS)))


class Events:
    """What may happen between two searches."""

    def __init__(self, kept: Kept, rng: np.random.Generator) -> None:
        self.kept, self.rng = kept, rng
        kept.growth = Growth(threshold=500, batch=300)

    def insert(self) -> None:
        known = somebody(self.kept, self.rng)
        self.kept.store(np.concatenate([lookalikes(self.rng, known, 5, 0.08), random_embeddings(self.rng, 20)]))

    def delete(self) -> None:
        ids = list(self.kept.stored)
        self.kept.delete([ids[i] for i in self.rng.choice(len(ids), 15, replace=False)])

    def delete_the_nearest(self) -> None:
        """Delete more of the nearest faces than a scan gives beyond its limit."""
        query = somebody(self.kept, self.rng)
        self.kept.store(lookalikes(self.rng, query, 150, 0.03))
        self.kept.delete(self.kept.search(query, 0.5, limit=100))
        self.kept.check_nearest(query, 0.3, 5)

    def move(self) -> None:
        """Move some of its faces to a bucket of its own."""
        with self.kept.database.transaction() as connection:
            connection.execute(sa.update(schema.bucket_work).values(leased_until=sa.func.now()))
            self.kept.growth.find(connection)
        if self.kept.row.buckets[0] < schema.FIRST_DEDICATED:
            self.kept.step(self.kept.claim())

    def evict(self) -> None:
        self.kept.file().unlink(missing_ok=True)

    def restart(self) -> None:
        """Begin anew with one worker, over the same files."""
        place = int(self.rng.integers(len(self.kept.workers)))
        self.kept.workers[place] = Worker(self.kept.database, self.kept.file().parent)

    def warm(self) -> None:
        self.kept.warm()


@pytest.mark.parametrize("seed", range(3))
def test_searches_find_what_brute_force_finds(kept: Kept, seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = Events(kept, rng)
    others: list[Callable[[], None]] = [events.insert, events.delete, events.delete_the_nearest, events.move]
    others += [events.evict, events.restart, events.warm, events.insert]
    kept.warm()
    for event in [others[i] for i in rng.permutation(24) % len(others)]:
        event()
        check(kept, rng)
    kept.warm()
    before = kept.slow
    check(kept, rng, 20)
    assert kept.slow == before, "warm searches went to Postgres"


def test_a_search_finds_what_another_process_has_just_written(kept: Kept) -> None:
    kept.warm()
    rng = np.random.default_rng(8)
    for _ in range(10):
        query = random_embeddings(rng, 1)[0]
        (new,) = kept.store(query[None])
        assert kept.search(query, 0.9) == [new]
        kept.delete([new])
        assert kept.search(query, 0.9) == []
    assert kept.fast(4) == 4


def test_when_most_rows_match_all_of_them_are_compared(kept: Kept) -> None:
    kept.warm()
    for min_cosine in (-1.0, -0.2, 0.0, 0.05):
        kept.check(somebody(kept, np.random.default_rng(1)), min_cosine)
    assert kept.fast() == 1


def test_too_many_changes_are_left_to_postgres_until_the_segment_is_new(kept: Kept) -> None:
    kept.warm()
    rng = np.random.default_rng(3)
    kept.store(random_embeddings(rng, 1_200))
    first = kept.workers[0].segments.keeper
    check(kept, rng)
    kept.warm()
    assert first is kept.workers[0].segments.keeper
    check(kept, rng)
    with kept.database.transaction() as connection:
        segment = first.find(kept.workers[0].place(connection, kept.row))
    assert segment is not None
    assert segment.head.count == len(kept.stored)
