"""Collections of made faces, as large as wanted, that lie as real ones do; loaded by binary COPY.

An embedding is a share of what all faces have in common, a share of its person, and noise, each isotropic. With 0.303, 0.75 and
0.588 of them in 104 of the dimensions, two people meet at a cosine of 0.092 ± 0.089 and two pictures of one at 0.65, which is
what was measured on SFace's embeddings of LFW. Nothing lies closer together than that: no twins, no picture twice.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from app.db import bucket_work, collections, copying, face_models, migrate, schema, search_tables, vectors
from app.db.session import Database, Row
from app.domain.face_models import (
    NEWEST,
    FaceModelVersion,
    ModelFile,
    Preprocessing,
    SimilarityCurve,
    registered,
)
from app.local.postgres import LocalPostgres
from app.services.growth import Growth
from tests.factories import Account, Embeddings, make_account, unit

_ALIKE, _PERSON, _NOISE = 0.303, 0.75, 0.588
_EFFECTIVE_SHARE = 104 / 128
_PICTURES = 4  # of each person

_PART = 50_000  # rows that are laid out at once


def make_embeddings(rng: np.random.Generator, count: int, dimension: int = 128) -> Embeddings:
    """Make embeddings of people with four pictures each."""
    inner = round(dimension * _EFFECTIVE_SHARE)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, inner)))[0].T.astype("<f4")
    people = rng.standard_normal((-(-count // _PICTURES), inner), dtype="<f4") / np.sqrt(inner)
    own = people.repeat(_PICTURES, axis=0)[:count]
    noise = rng.standard_normal((count, inner), dtype="<f4") / np.sqrt(inner)
    common = np.zeros(inner, dtype="<f4")
    common[0] = 1
    return unit((_ALIKE * common + _PERSON * own + _NOISE * noise) @ axes)


def more_pictures(rng: np.random.Generator, embeddings: Embeddings, count: int) -> Embeddings:
    """Make a picture more of people that some embeddings show."""
    some = embeddings[rng.choice(len(embeddings), count)]
    return unit(0.8 * some + 0.6 * make_embeddings(rng, count, embeddings.shape[1]))


class Gallery:
    """A database of its own for an account that stores made faces."""

    def __init__(self, database: Database, account: Account) -> None:
        self.database = database
        self.account = account

    def register(self, version: str, dimension: int) -> FaceModelVersion:
        """Register a face model version of a dimension, once."""
        made = registered(
            version, ModelFile("made.onnx", "0" * 64, 1, "", ""), dimension, SimilarityCurve(36, 14), Preprocessing()
        )
        with self.database.transaction() as connection:
            face_models.insert(connection, made)
        return made

    def store(self, name: str, embeddings: Embeddings, version: FaceModelVersion = NEWEST) -> Row:
        """Make a collection of embeddings, let it grow as a worker does, and give it."""
        number = self._insert(name, version)
        with self.database.transaction() as connection:
            row = connection.execute(sa.select(schema.collections).where(_is(number))).one()
            numbers = np.arange(1, len(embeddings) + 1)
            vectors.copy(connection, search_tables.of_faces(version), number, row.buckets[-1], numbers, embeddings)
            _copy_faces(connection, row, embeddings)
            counts = {"live_faces": len(embeddings), "next_no": len(embeddings) + 1}
            connection.execute(sa.update(schema.collections).where(_is(number)).values(**counts))
        self.grow(Growth())
        for table in (search_tables.of_faces(version), schema.faces, schema.collections):
            self.vacuum(table)
        with self.database.transaction() as connection:
            return connection.execute(sa.select(schema.collections).where(_is(number))).one()

    def _insert(self, name: str, version: FaceModelVersion) -> int:
        with self.database.transaction() as connection:
            assert collections.insert(connection, self.account.account_id, name, version.version, {})
            row = collections.find(connection, self.account.account_id, name)
        assert row is not None
        return int(row.collection_id)

    def grow(self, growth: Growth) -> None:
        """Move the collection that has waited the longest to buckets of its own, if one is large enough."""
        with self.database.transaction() as connection:
            growth.find(connection)
            claimed = bucket_work.claim(connection)
        while claimed is not None:
            with self.database.transaction() as connection:
                if not growth.step(connection, claimed):
                    return

    def vacuum(self, table: sa.Table) -> None:
        """Do what autovacuum will have done by and by."""
        with self.database.statement() as connection:
            connection.execute(sa.text(f"VACUUM ANALYZE {table.name}"))


def _is(number: int) -> sa.ColumnElement[bool]:
    return schema.collections.c.collection_id == number


@contextmanager
def open_gallery(folder: Path) -> Iterator[Gallery]:
    """Start a Postgres for a gallery."""
    server = LocalPostgres(folder / "data", durable=False)
    server.start()
    try:
        migrate.upgrade(server.url)
        database = Database(server.url)
        yield Gallery(database, make_account(database))
        database.close()
    finally:
        server.stop()


def _copy_faces(connection: sa.Connection, collection: Row, embeddings: Embeddings) -> None:
    """Store what lies beside the rows that are searched, a part at a time."""
    same = {
        **{"collection_id": collection.collection_id, "model": collection.model, "change_seq": 0, "details": {}},
        **{"bbox": [0.1, 0.1, 0.2, 0.2], "confidence": 99.5, "quality": 12.5},
    }
    for begin in range(0, len(embeddings), _PART):
        part = enumerate(embeddings[begin : begin + _PART], start=begin + 1)
        keys = ((number, uuid.UUID(int=number), embedding) for number, embedding in part)
        rows = [
            {"face_no": number, "face_id": key, "image_id": key, "emb32": embedding.tobytes()}
            for number, key, embedding in keys
        ]
        copying.insert(connection, schema.faces, rows, **same)
