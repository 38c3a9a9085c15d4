"""The approximate search of faces, for collections that asked for it: a walk through the graph of each of their buckets.

Every match is near the ones before it, so the walk ends where nothing but faces below the threshold comes; what it never comes
by is missed. What it finds is decided in float32 like everything else (`app.db.vectors`).
"""

from functools import cache

import sqlalchemy as sa
from sqlalchemy.engine import Connection, CursorResult

from app.db import search_tables, vectors
from app.db.schema import collections
from app.db.session import Row
from app.db.vectors import EXTRA_ROWS, HALF_PRECISION_MARGIN, as_array, buckets_of
from app.domain.search_modes import CANDIDATES, MOST_VISITED, SearchMode

#: Rows that are asked for at once; as many that are all below the threshold end the walk. Half of the candidates ended it
#: after the nearest ones: a quarter of the matches at similarity 80 were missed.
_PAGE = CANDIDATES

# Relaxed: what comes a little out of order is found as well. Sorting is what Postgres would do instead of walking.
_WALKING = {
    "hnsw.iterative_scan": "relaxed_order",
    "hnsw.ef_search": str(CANDIDATES),
    "hnsw.max_scan_tuples": str(MOST_VISITED),
    "hnsw.scan_mem_multiplier": "4",
    "enable_sort": "off",
}


def is_ready(collection: Row) -> bool:
    """Tell whether a collection asks for approximate search, and has an index of the version that is searched."""
    return bool(collection.search_mode == SearchMode.APPROXIMATE and collection.indexed_model == collection.model)


def scan_as_asked(
    connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
) -> list[int]:
    """Scan a collection in the way that it asks for: exactly, unless it asked for less, for faces, and its index is there."""
    way = scan if is_ready(collection) and search_tables.is_of_faces(table) else vectors.scan
    return way(connection, table, collection, vector, min_cosine=min_cosine, limit=limit)


def scan(
    connection: Connection, table: sa.Table, collection: Row, vector: bytes, *, min_cosine: float, limit: int
) -> list[int]:
    """Give the numbers of rows that may be above the threshold, as `vectors.scan` does, but not of all of them.

    A bucket that has no index yet is looked through from end to end.
    """
    connection.execute(_set(_WALKING))
    buckets = collection.buckets
    while (found := _walk(connection, table, collection, vector, buckets, min_cosine, limit + EXTRA_ROWS)) is None:
        buckets = buckets_of(connection, collection)
    connection.execute(_set({"enable_sort": "on"}))
    return found


def _walk(
    connection: Connection,
    table: sa.Table,
    collection: Row,
    vector: bytes,
    buckets: list[int],
    min_cosine: float,
    most: int,
) -> list[int] | None:
    """Walk until enough was found or nothing more comes; None where the rows have moved since."""
    values = {"number": collection.collection_id, "vector": as_array(vector), "buckets": buckets, "known": buckets}
    farthest = -(min_cosine - HALF_PRECISION_MARGIN)
    rows: CursorResult[tuple[bool, int | None, float]] = connection.execute(
        _statement(table), values, execution_options={"yield_per": _PAGE}
    )
    found: list[int] = []
    with rows:
        for page in rows.partitions():
            if not page[0].is_current:
                return None
            near = [row.number for row in page if row.number is not None and row.distance <= farthest]
            found += near
            if not near or len(found) >= most:
                break
    return found[:most]


@cache
def _statement(table: sa.Table) -> sa.Select[tuple[bool, int | None, float]]:
    """Make the walk of a table, nearest rows first: without an end, because a cursor reads as far as it is asked to."""
    distance = table.c.embedding.max_inner_product(sa.bindparam("vector", type_=table.c.embedding.type))
    hits = (
        sa.select(table.c.number, distance.label("distance"))
        .where(
            table.c.bucket.in_(sa.bindparam("buckets", expanding=True)),
            table.c.collection_id == sa.bindparam("number"),
        )
        .order_by(distance)  # bare: this is what the index serves
        .subquery("hits")
    )
    is_current = collections.c.buckets == sa.bindparam("known", type_=collections.c.buckets.type)
    return (
        sa.select(is_current.label("is_current"), hits.c.number, hits.c.distance)
        .select_from(collections.outerjoin(hits, sa.true()))
        .where(collections.c.collection_id == sa.bindparam("number"))
    )


def _set(settings: dict[str, str]) -> sa.Select[*tuple[str, ...]]:
    """Give the statement that sets something for this transaction."""
    return sa.select(*(sa.func.set_config(name, value, True) for name, value in settings.items()))
