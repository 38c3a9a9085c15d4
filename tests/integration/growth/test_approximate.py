"""Approximate search by choice: it finds what is near, and nobody who did not ask for it gets it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from app.db import approximate, faces, schema, search_indexes, vectors
from app.db.session import Database
from app.services import collections as collection_service
from tests.approximating import Approximating
from tests.factories import lookalikes
from tests.growing import RNG, WANTED


def plans(database: Database, search: Callable[[], object]) -> str:
    """Give the plans of the statements that a search sends."""
    sent: list[tuple[str, Any]] = []

    def listen(_c: object, _cursor: object, statement: str, parameters: Any, _x: object, _m: object) -> None:
        sent.append((statement, parameters))

    sa.event.listen(database.engine, "before_cursor_execute", listen)
    try:
        search()
    finally:
        sa.event.remove(database.engine, "before_cursor_execute", listen)
    with database.transaction() as connection:
        connection.exec_driver_sql("SET LOCAL enable_sort = off")
        explained = [
            connection.exec_driver_sql(f"EXPLAIN {statement}", parameters).scalars()
            for statement, parameters in sent
            if "fv_sface128" in statement
        ]
        return "\n".join(line for lines in explained for line in lines)


def scan(asked: Approximating, how: vectors.Scan, limit: int = 4096) -> set[int]:
    with asked.database.transaction() as connection:
        row = asked.growing.row
        table = schema.face_vectors[row.model]
        return set(how(connection, table, row, WANTED.tobytes(), min_cosine=0.5, limit=limit))


def test_a_collection_that_asks_gets_an_index_that_is_measured_and_used(asked: Approximating) -> None:
    (table,) = asked.tables()
    shown = asked.show()
    assert shown["SearchMode"] == "approximate"
    assert asked.indexes() == {f"hnsw_{table}": True}
    index = shown["Index"]
    assert (index["Status"], index["Buckets"], index["Built"]) == ("READY", 1, 1)
    assert index["Measured"]["Recall"] == 1.0  # of sixty faces none is far away
    assert index["Measured"]["Matches"] > 0
    assert 0 < index["Measured"]["Sample"] <= 60
    assert f"Index Scan using hnsw_{table}" in plans(asked.database, lambda: asked.growing.search(WANTED, 0.5))
    asked.growing.check(WANTED, 0.5)


def test_whoever_did_not_ask_is_searched_exactly_whatever_indexes_there_are(asked: Approximating) -> None:
    assert "hnsw" not in plans(asked.database, lambda: scan(asked, vectors.scan))
    with asked.database.transaction() as connection:
        connection.execute(sa.update(schema.collections).values(search_mode="exact"))
    assert "hnsw" not in plans(asked.database, lambda: asked.growing.search(WANTED, 0.5))


def test_users_are_searched_exactly(asked: Approximating) -> None:
    assert not [name for name in asked.indexes() if "uv_" in name]


def test_what_comes_and_goes_afterwards_is_found_and_never_found_again(asked: Approximating) -> None:
    growing = asked.growing
    near = growing.store(lookalikes(RNG, WANTED, 5))
    assert set(near) <= set(growing.search(WANTED, 0.5))
    growing.delete(near[:3])
    found = growing.search(WANTED, 0.5)
    assert set(near[3:]) <= set(found)
    assert not set(near[:3]) & set(found)


def test_a_match_behind_many_deleted_ones_is_found(asked: Approximating) -> None:
    """Deleted faces stay in the graph until it is made anew; a walk goes on past them."""
    growing = asked.growing
    gone = growing.store(lookalikes(RNG, WANTED, 300, noise=0.02))
    (kept,) = growing.store(lookalikes(RNG, WANTED, 1, noise=0.06))
    growing.delete(gone)
    assert kept in growing.search(WANTED, 0.5)


def test_each_bucket_gets_its_index_and_the_newest_is_searched_without_one(asked: Approximating) -> None:
    growing = asked.growing
    growing.growth = replace(growing.growth, capacity=40)
    for _ in growing.steps():
        pass
    growing.store(lookalikes(RNG, WANTED, 3))
    assert len(growing.row.buckets) == 2
    growing.check(WANTED, 0.5)
    index = asked.keep()["Index"]
    assert (index["Buckets"], index["Built"]) == (2, 2)
    growing.check(WANTED, 0.5)


def test_a_search_that_read_the_collection_before_it_changed_misses_nothing(asked: Approximating) -> None:
    growing, known = asked.growing, asked.growing.row
    growing.growth = replace(growing.growth, capacity=40)
    for _ in growing.steps():
        pass
    (late,) = growing.store(lookalikes(RNG, WANTED, 1))
    assert late in growing.search(WANTED, 0.5, known=known)


def test_no_more_is_given_than_was_asked_for(asked: Approximating) -> None:
    assert len(asked.growing.search(WANTED, 0.5, limit=3)) == 3
    assert asked.growing.search(WANTED, 0.5, limit=3) == asked.growing.search(WANTED, 0.5)[:3]


def test_a_search_of_a_collection_that_was_deleted_finds_nothing(asked: Approximating) -> None:
    growing, known = asked.growing, asked.growing.row
    with growing.database.transaction() as connection:
        collection_service.delete_collection(connection, growing.account.caller, {"CollectionId": growing.name})
        assert faces.nearest(connection, known, WANTED.tobytes(), min_cosine=0.5, limit=10) == []
        assert search_indexes.find(connection, asked.number) is None
        connection.rollback()


def test_another_version_is_searched_exactly_until_it_has_an_index_of_its_own(asked: Approximating) -> None:
    row = asked.growing.row
    assert approximate.is_ready(row)
    with asked.database.transaction() as connection:
        mine = schema.collections.c.collection_id == row.collection_id
        switched = sa.update(schema.collections).where(mine).values(model="2.0").returning(schema.collections)
        assert not approximate.is_ready(connection.execute(switched).one())
        connection.rollback()
