"""What an exact search costs in CPU time, client thread and Postgres together, beside faiss's IndexFlatIP on one thread.

REKOLLECT_BENCH_FACES (100,000) is the size of the large collection, REKOLLECT_BENCH_COLLECTIONS (5,000) how many small ones are
there. Where faiss is not installed, costs are printed without a comparison. Every answer is compared with float32 brute force,
at every size.
"""

import importlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import faces, vectors
from app.db.schema import FIRST_DEDICATED, SHARED_BUCKETS
from app.db.schema.search import search_table
from app.db.search_tables import of_faces
from app.db.session import Row
from app.domain.face_models import NEWEST
from app.services import collections as collection_service
from app.services import faces as face_service
from app.services.growth import Growth
from tests.benchmarks.gallery import Gallery, open_gallery
from tests.factories import Embeddings, store_embeddings
from tests.moving import going_on
from workers.bench import made_faces

pytestmark = pytest.mark.bench

FACES = int(os.environ.get("REKOLLECT_BENCH_FACES", "100000"))
QUERIES = 40

#: The cosine of a similarity of 99, which AWS advises where a match has consequences.
MIN_COSINE, MAX_FACES = 0.507, 4096

#: Sums of float32 products depend on their order.
ROUNDING = 1e-6

#: The most that exact SQL may cost, in units of faiss's flat scan, up to a number of faces.
BARS = ((10_000, 4.0), (100_000, 3.5), (1_000_000, 5.5))
NEIGHBOURS = int(os.environ.get("REKOLLECT_BENCH_COLLECTIONS", "5000"))
SMALL, SMALL_BAR = 200, 1.5


@dataclass
class Costs:
    """CPU milliseconds and milliseconds on the clock, of each query."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], object], backend: int | None = None) -> None:
        """Do something in this thread and, if need be, a backend of Postgres."""
        began = time.perf_counter(), time.thread_time() + _cpu_of(backend)
        work()
        self.cpu.append((time.thread_time() + _cpu_of(backend) - began[1]) * 1000)
        self.wall.append((time.perf_counter() - began[0]) * 1000)

    def __str__(self) -> str:
        return f"{np.median(self.cpu):>9.2f}{np.median(self.wall):>10.2f}{np.percentile(self.wall, 95):>10.2f}"


def _cpu_of(backend: int | None) -> float:
    """Give the seconds that a process has run, to the nanosecond."""
    return 0.0 if backend is None else int(Path(f"/proc/{backend}/schedstat").read_text().split()[0]) / 1e9


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gallery]:
    with open_gallery(tmp_path_factory.mktemp("gallery")) as gallery:
        yield gallery


@pytest.fixture(scope="module", autouse=True)
def _heading() -> None:
    print(f"\n{'search, load ' + format(os.getloadavg()[0], '.1f'):<52}{'CPU ms':>9}{'wall p50':>10}{'wall p95':>10}")


def flat(embeddings: Embeddings) -> Any:
    """Give faiss's flat index on one thread; None where faiss is not installed."""
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError:
        print("faiss is not installed: no comparison")
        return None
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(embeddings.shape[1])
    index.add(embeddings)
    return index


def check(found: list[vectors.Hit], embeddings: Embeddings, query: Embeddings) -> int:
    """Assert that an answer is complete, true and in order; give its length."""
    cosines = embeddings @ query
    numbers = np.array([hit.row.face_no for hit in found], dtype=int) - 1
    assert len(np.unique(numbers)) == len(numbers)
    assert set(np.flatnonzero(cosines >= MIN_COSINE + ROUNDING)) <= set(numbers)
    assert np.all(cosines[numbers] >= MIN_COSINE - ROUNDING)
    assert np.all(np.diff(cosines[numbers]) <= ROUNDING)
    return len(numbers)


def search(connection: Connection, collection: Row, query: Embeddings) -> list[vectors.Hit]:
    return faces.nearest(connection, collection, query.tobytes(), min_cosine=MIN_COSINE, limit=MAX_FACES)


def backend_of(connection: Connection) -> int:
    return int(connection.execute(sa.select(sa.func.pg_backend_pid())).scalar_one())


@pytest.mark.parametrize("count", sorted({10_000, FACES}))
def test_exact_search_beside_a_flat_scan_in_memory(gallery: Gallery, count: int) -> None:
    rng = np.random.default_rng(count)
    embeddings = made_faces.make(rng, count)
    collection = gallery.store(f"{count}", embeddings)
    queries, index = made_faces.more_pictures(rng, embeddings, QUERIES), flat(embeddings)
    exact, memory, hits = Costs(), Costs(), 0
    with gallery.database.transaction() as connection:
        # The CPU time of parallel workers is nobody's afterwards, so the scan is measured in one process.
        connection.exec_driver_sql("SET LOCAL max_parallel_workers = 0")
        backend = backend_of(connection)
        for warm in range(3):
            search(connection, collection, queries[warm])
        for query in queries:  # both in one run: what else the machine does falls on both
            answer: list[vectors.Hit] = []
            exact.measure(
                lambda query=query, answer=answer: answer.extend(search(connection, collection, query)), backend
            )  # type: ignore[misc]
            if index is not None:
                memory.measure(lambda query=query: index.range_search(query[None], MIN_COSINE))  # type: ignore[misc]
            hits += check(answer, embeddings, query)
    print(f"{f'exact SQL, {count:,} faces, {hits / QUERIES:.1f} matches, recall 1':<52}{exact}")
    if index is None:
        pytest.skip("faiss is not installed: recall was checked, cost was not compared")
    ratio = float(np.median(exact.cpu) / np.median(memory.cpu))
    print(f"{'faiss IndexFlatIP, the same':<52}{memory}   SQL costs {ratio:.2f} x as much")
    assert ratio <= next((bar for size, bar in BARS if count <= size), BARS[-1][1])


def test_no_match_is_missed_while_the_collection_moves_and_others_write(gallery: Gallery) -> None:
    """Faces come and go that are what is searched for, while the others move; those that stay are found every time."""
    rng = np.random.default_rng(9)
    embeddings = made_faces.make(rng, min(FACES, 100_000))
    collection = gallery.store("moving", embeddings)
    queries, costs, moving = (
        made_faces.more_pictures(rng, embeddings, QUERIES),
        Costs(),
        Growth(threshold=len(embeddings) // 2),
    )

    def come_and_go() -> None:
        new = store_embeddings(gallery.database, gallery.account, "moving", queries[:10])
        with gallery.database.transaction() as connection:
            face_service.delete_faces(connection, gallery.account.caller, {"CollectionId": "moving", "FaceIds": new})

    move = threading.Thread(target=gallery.grow, args=(moving,))
    with going_on(come_and_go) as failures:
        move.start()
        while move.is_alive() or len(costs.wall) < 2 * QUERIES:
            query = queries[len(costs.wall) % QUERIES]
            with gallery.database.transaction() as connection:
                answer: list[vectors.Hit] = []
                costs.measure(lambda query=query, answer=answer: answer.extend(search(connection, collection, query)))  # type: ignore[misc]
            check([hit for hit in answer if hit.row.face_no <= len(embeddings)], embeddings, query)
    assert failures == []
    with gallery.database.transaction() as connection:
        buckets = collection_service.get(connection, gallery.account.account_id, "moving").buckets
    assert buckets[0] >= FIRST_DEDICATED
    print(f"{f'exact SQL, {len(embeddings):,} faces that move, recall 1 (client)':<52}{costs}")


def test_a_longer_embedding_is_searched_completely(gallery: Gallery) -> None:
    rng = np.random.default_rng(512)
    embeddings = made_faces.make(rng, min(FACES, 100_000), 512)
    collection = gallery.store("longer", embeddings, gallery.register("9.0", 512))
    costs, hits = Costs(), 0
    with gallery.database.transaction() as connection:
        backend = backend_of(connection)
        for query in made_faces.more_pictures(rng, embeddings, QUERIES // 4):
            answer: list[vectors.Hit] = []
            costs.measure(
                lambda query=query, answer=answer: answer.extend(search(connection, collection, query)), backend
            )  # type: ignore[misc]
            hits += check(answer, embeddings, query)
    print(f"{f'exact SQL, {len(embeddings):,} x 512, recall 1':<52}{costs}")
    assert hits


def test_a_small_collection_among_thousands_costs_what_a_private_table_costs(gallery: Gallery) -> None:
    rng = np.random.default_rng(200)
    embeddings = made_faces.make(rng, SMALL)
    collection = gallery.store("small", embeddings)
    private = search_table("private", "face_no", NEWEST.dimension, sa.MetaData())
    shared_costs, private_costs = Costs(), Costs()
    with gallery.database.transaction() as connection:
        _add_neighbours(connection, made_faces.make(rng, max(1, FACES // NEIGHBOURS)))
        connection.exec_driver_sql(
            "CREATE TABLE private (bucket int2 NOT NULL, collection_id int NOT NULL, face_no int8 NOT NULL,"
            " embedding halfvec(128) STORAGE PLAIN NOT NULL)"
        )
        numbers = np.arange(1, SMALL + 1)
        vectors.copy(connection, private, collection.collection_id, collection.buckets[0], numbers, embeddings)
        connection.exec_driver_sql(
            "CREATE UNIQUE INDEX ON private (collection_id, face_no) INCLUDE (bucket, embedding)"
        )
    for table in (of_faces(NEWEST), private):
        gallery.vacuum(table)
    with gallery.database.transaction() as connection:
        backend = backend_of(connection)
        for query in made_faces.more_pictures(rng, embeddings, 5 * QUERIES).repeat(2, axis=0):
            for table, costs in ((of_faces(NEWEST), shared_costs), (private, private_costs)):
                costs.measure(
                    lambda table=table, query=query: vectors.scan(  # type: ignore[misc]
                        connection, table, collection, query.tobytes(), min_cosine=MIN_COSINE, limit=MAX_FACES
                    ),
                    backend,
                )
    ratio = float(np.median(shared_costs.cpu) / np.median(private_costs.cpu))
    print(f"{f'{SMALL} faces among {NEIGHBOURS:,} collections':<52}{shared_costs}")
    print(f"{'the same in a private table':<52}{private_costs}   shared costs {ratio:.2f} x as much")
    assert ratio <= SMALL_BAR


def _add_neighbours(connection: Connection, embeddings: Embeddings) -> None:
    """Put other collections into all shared buckets, this one's included."""
    numbers = np.arange(1, len(embeddings) + 1)
    for number in range(1, NEIGHBOURS):
        vectors.copy(connection, of_faces(NEWEST), 10**6 + number, number % SHARED_BUCKETS, numbers, embeddings)
