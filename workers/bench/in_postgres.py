"""Our own ways: made faces in collections of a Postgres that is there for the benchmark alone, stored and searched as ever."""

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import (
    accounts,
    bucket_work,
    collections,
    copying,
    face_models,
    migrate,
    schema,
    search_indexes,
    search_tables,
    vectors,
)
from app.db import faces as stored_faces
from app.db.session import Database, Row
from app.domain.face_models import NEWEST, FaceModelVersion, ModelFile, Preprocessing, registered
from app.domain.search_modes import SearchMode
from app.local.postgres import LocalPostgres
from app.services.faces import MAX_MATCHES
from app.services.growth import Growth
from app.services.index_keeping import IndexKeeper
from workers.bench.contest import Contestant
from workers.bench.made_faces import Embeddings
from workers.bench.stages import Stages

_PART = 50_000  # faces that are stored in one transaction

#: What is stored with each face; no search looks at it.
_DETAILS = {"bbox": [0.1, 0.1, 0.2, 0.2], "confidence": 99.5, "quality": 12.5, "details": {}, "change_seq": 0}


class Gallery:
    """Stores made faces for an account."""

    def __init__(self, database: Database, account_id: int) -> None:
        self.database = database
        self.account_id = account_id

    def register(self, version: str, dimension: int) -> FaceModelVersion:
        """Register a face model version of a dimension; its similarities are those of the built-in one."""
        file = ModelFile("made.onnx", "0" * 64, 1, "", "")
        made = registered(version, file, dimension, NEWEST.curve, Preprocessing())
        with self.database.transaction() as connection:
            face_models.insert(connection, made)
        return made

    def store(self, name: str, embeddings: Embeddings, version: FaceModelVersion = NEWEST) -> Row:
        """Make a collection of embeddings, numbered from 1, let it grow as a worker does, and give it."""
        with self.database.transaction() as connection:
            collections.insert(connection, self.account_id, name, version.version, {})
        for begin in range(0, len(embeddings), _PART):
            with self.database.transaction() as connection:
                row = self._find(connection, name)
                _store(connection, row, embeddings[begin : begin + _PART], version)
        self.grow(Growth())
        for table in (search_tables.of_faces(version), schema.faces, schema.collections):
            self.vacuum(table)
        return self.find(name)

    def find(self, name: str) -> Row:
        """Give a collection as it is now."""
        with self.database.transaction() as connection:
            return self._find(connection, name)

    def _find(self, connection: Connection, name: str) -> Row:
        row = collections.find(connection, self.account_id, name)
        if row is None:
            raise LookupError(name)
        return row

    def grow(self, growth: Growth) -> None:
        """Move the collection that has waited the longest to buckets of its own, if one is large enough."""
        with self.database.transaction() as connection:
            growth.find(connection)
            claimed = bucket_work.claim(connection)
        while claimed is not None:
            with self.database.transaction() as connection:
                if not growth.step(connection, claimed):
                    return

    def index(self, name: str, *, megabytes: int) -> None:
        """Have a collection searched approximately, and its index built and measured."""
        with self.database.transaction() as connection:
            search_indexes.ask(connection, self._find(connection, name).collection_id, SearchMode.APPROXIMATE)
        IndexKeeper(self.database, megabytes=megabytes).run(threading.Event())

    def vacuum(self, table: sa.Table) -> None:
        """Do what autovacuum will have done by and by."""
        with self.database.statement() as connection:
            connection.execute(sa.text(f"VACUUM ANALYZE {table.name}"))


def _store(connection: Connection, collection: Row, part: Embeddings, version: FaceModelVersion) -> None:
    first, number = collection.next_no, collection.collection_id
    numbers = np.arange(first, first + len(part))
    vectors.copy(connection, search_tables.of_faces(version), number, collection.buckets[-1], numbers, part)
    rows = [
        {"face_no": int(face_no), "face_id": uuid.UUID(int=int(face_no)), "emb32": embedding.tobytes()}
        for face_no, embedding in zip(numbers, part, strict=True)
    ]
    same = {"collection_id": number, "model": version.version, "image_id": uuid.UUID(int=number), **_DETAILS}
    copying.insert(connection, schema.faces, rows, **same)
    collections.add_faces(connection, number, len(part), numbers_used=len(part))


@contextmanager
def open_gallery(folder: Path) -> Iterator[Gallery]:
    """Start a Postgres in a folder, for as long as the block lasts. Raises LocalError."""
    server = LocalPostgres(folder / "data", durable=False)
    server.start()
    try:
        migrate.upgrade(server.url)
        database = Database(server.url)
        with database.transaction() as connection:
            account_id = accounts.insert_account(connection, "bench", b"")
        yield Gallery(database, account_id)
        database.close()
    finally:
        server.stop()


def contestants(
    gallery: Gallery, embeddings: Embeddings, min_cosine: float, stages: Stages, opened: ExitStack, *, megabytes: int
) -> Iterator[Contestant]:
    """Give exact SQL and pgvector's graph, each over a collection of its own; their connections close with the stack."""
    dimension = embeddings.shape[1]
    version = NEWEST if dimension == NEWEST.dimension else gallery.register("9.0", dimension)
    with stages.stage("storing the faces"):
        gallery.store("approximate", embeddings, version)
        gallery.grow(
            Growth(threshold=1)
        )  # whatever their number is: before there is another collection that would grow
        exact = gallery.store("exact", embeddings, version)
    with stages.stage("building the graph of pgvector and measuring it"):
        gallery.index("approximate", megabytes=megabytes)
    approximate = gallery.find("approximate")
    yield _contestant(gallery, exact, version, "exact SQL", min_cosine, opened)
    yield _contestant(gallery, approximate, version, "pgvector HNSW (approximate)", min_cosine, opened)


def _contestant(
    gallery: Gallery, collection: Row, version: FaceModelVersion, name: str, min_cosine: float, opened: ExitStack
) -> Contestant:
    connection = opened.enter_context(gallery.database.engine.connect())
    # The CPU time of parallel workers is nobody's afterwards, so one process does it all.
    connection.execute(sa.text("SET max_parallel_workers = 0"))
    backend = int(connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one())
    connection.commit()
    return Contestant(
        name,
        _search(connection, collection, min_cosine),
        _bytes(gallery, collection, version) / collection.live_faces,
        backend,
    )


def _search(connection: Connection, collection: Row, min_cosine: float) -> Callable[[Embeddings], set[int]]:
    def search(query: Embeddings) -> set[int]:
        with connection.begin():
            hits = stored_faces.nearest(
                connection, collection, query.tobytes(), min_cosine=min_cosine, limit=MAX_MATCHES
            )
        return {hit.row.face_no - 1 for hit in hits}

    return search


def _bytes(gallery: Gallery, collection: Row, version: FaceModelVersion) -> int:
    """Give the size of what is searched, indexes included; the float32 truth beside it is not."""
    shared = [f"{version.search_table}_{bucket}" for bucket in collection.buckets]
    own = [search_tables.own_table(version, bucket, collection.collection_id) for bucket in collection.buckets]
    size = sa.text("SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(CAST(:names AS text[])) AS name")
    with gallery.database.transaction() as connection:
        return int(connection.execute(size, {"names": [*shared, *own]}).scalar_one())
