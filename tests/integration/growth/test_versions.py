"""A collection with two face model versions grows in the search tables of both."""

from dataclasses import replace

import numpy as np
import pytest
import sqlalchemy as sa
from celery import Celery

from app.broker import Doorbell
from app.db import collections, face_models, faces, schema, search_tables, second_versions
from app.db.session import Database, Row
from app.domain.face_models import NEWEST, FaceModelVersion, ModelFile, Preprocessing, SimilarityCurve, registered
from app.services.reprocesses import Reprocesses
from tests.factories import unit
from tests.growing import Growing

RNG = np.random.default_rng(78)


@pytest.fixture(scope="module")
def second(database: Database) -> FaceModelVersion:
    file = ModelFile("second.onnx", "0" * 64, 1, "MIT", "")
    version = registered("2.0", file, 16, SimilarityCurve(30.0, 12.0), Preprocessing())
    with database.transaction() as connection:
        assert face_models.insert(connection, version)
    return version


@pytest.fixture
def reprocesses(database: Database, celery: Celery) -> Reprocesses:
    return Reprocesses(database, Doorbell(celery))


def searched_in(growing: Growing, version: str) -> Row:
    """Read the collection as if it were searched in another version."""
    columns = [column for column in schema.collections.c if column.name not in ("model", "other_model")]
    model, other = sa.literal(version).label("model"), sa.literal(NEWEST.version).label("other_model")
    mine = schema.collections.c.collection_id == growing.row.collection_id
    with growing.database.transaction() as connection:
        return connection.execute(sa.select(*columns, model, other).where(mine)).one()


def test_both_versions_move_during_a_reprocess(
    growing: Growing, second: FaceModelVersion, reprocesses: Reprocesses
) -> None:
    reprocesses.start(growing.account.account_id, "people", second.version, "keep-out")
    beside = unit(RNG.standard_normal((60, second.dimension)))
    with growing.database.transaction() as connection:
        collection = collections.lock(connection, growing.row.collection_id)
        assert collection is not None
        numbered = [(number + 1, embedding.tobytes()) for number, embedding in enumerate(beside)]
        second_versions.insert_faces(connection, collection, second, numbered)
    query = unit(RNG.standard_normal((1, second.dimension)))[0]
    wanted = {number + 1 for number in np.flatnonzero(beside @ query >= 0.1)}
    for row in growing.steps():
        growing.check_all()
        switched = searched_in(growing, second.version)
        with growing.database.transaction() as connection:
            hits = faces.nearest(connection, switched, query.tobytes(), min_cosine=0.1, limit=100)
        assert {hit.row.face_no for hit in hits} == wanted
        assert row.other_model == second.version
    own = growing.row.buckets
    assert growing.per_bucket(search_tables.of_faces(second)) == {own[0]: 60}


def test_a_version_that_comes_later_follows(
    growing: Growing, second: FaceModelVersion, reprocesses: Reprocesses
) -> None:
    growing.growth = replace(growing.growth, capacity=50)
    for _ in growing.steps():
        pass
    reprocesses.start(growing.account.account_id, "people", second.version, "keep-out")
    row = growing.row
    assert {f"fv_2_0_d16_{bucket}_{row.collection_id}" for bucket in row.buckets} <= growing.partitions()
    with growing.database.transaction() as connection:
        collection = collections.lock(connection, growing.row.collection_id)
        assert collection is not None
        vector = unit(RNG.standard_normal((1, second.dimension)))[0].tobytes()
        second_versions.insert_faces(connection, collection, second, [(1, vector)])
    assert growing.per_bucket(search_tables.of_faces(second)) == {growing.row.buckets[-1]: 1}
