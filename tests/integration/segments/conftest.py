"""What tests of segments begin with: a database of its own, and a collection that two workers keep."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.db.session import Database
from app.local.postgres import LocalPostgres
from tests.factories import Account, Embeddings, lookalikes, make_collection, random_embeddings
from tests.fresh import fresh_database
from tests.keeping import Kept, Worker

RNG = np.random.default_rng(40)


@pytest.fixture(scope="package")
def database(postgres: LocalPostgres) -> Iterator[Database]:
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url, pool_size=16)
        yield database
        database.close()


def people(rng: np.random.Generator, count: int) -> Embeddings:
    """Make embeddings of people with ten pictures each, from near to far."""
    faces = [
        lookalikes(rng, person, 1, noise)
        for person in random_embeddings(rng, count // 10)
        for noise in np.linspace(0.02, 0.2, 10)
    ]
    return np.concatenate(faces)


@pytest.fixture
def kept(database: Database, account: Account, tmp_path: Path) -> Iterator[Kept]:
    """Fifteen hundred faces that two workers may keep."""
    make_collection(database, account)
    kept = Kept(database, account, workers=[Worker(database, tmp_path / "segments") for _ in range(2)])
    kept.store(people(np.random.default_rng(4), 1_500))
    yield kept
    Worker.stop_all()
