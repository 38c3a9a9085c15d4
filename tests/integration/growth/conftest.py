"""What tests of growing begin with: a database of its own, because what grows makes partitions, and a collection to grow."""

from collections.abc import Iterator

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import schema
from app.db.session import Database
from app.local.postgres import LocalPostgres
from tests.approximating import Approximating
from tests.factories import Account, lookalikes, make_collection, random_embeddings
from tests.fresh import fresh_database
from tests.growing import WANTED, Growing


@pytest.fixture(scope="package")
def database(postgres: LocalPostgres) -> Iterator[Database]:
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url, pool_size=16)
        yield database
        database.close()


@pytest.fixture
def growing(database: Database, account: Account) -> Growing:
    """Sixty faces, ten more than a shared bucket may hold of one collection; no other one has anything to do."""
    with database.transaction() as connection:
        connection.execute(sa.delete(schema.bucket_work))
        connection.execute(sa.update(schema.collections).values(live_faces=0))
        connection.execute(sa.update(schema.dedicated_buckets).values(faces=0, next_no=2**40))
    make_collection(database, account, bucket=3)
    growing = Growing(database, account)
    rng = np.random.default_rng(3)
    growing.store(np.concatenate([random_embeddings(rng, 40), lookalikes(rng, WANTED, 20)]))
    return growing


@pytest.fixture
def fresh(growing: Growing) -> Iterator[Approximating]:
    """A collection that may ask for approximate search; its bucket is still the shared one."""
    fresh = Approximating(growing)
    yield fresh
    fresh.finish()


@pytest.fixture
def asked(fresh: Approximating) -> Approximating:
    """One with a bucket of its own that asked for an index, and got it."""
    fresh.grow()
    fresh.ask("approximate")
    fresh.keep()
    return fresh
