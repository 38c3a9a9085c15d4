"""How Postgres runs a search: over the covering index of the collection's own bucket, and no other partition."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from app.db import faces, schema
from app.db.session import Database
from app.services import collections
from tests.factories import Account, make_collection, random_embeddings, store_embeddings

BUCKET = 11
TABLE = "fv_sface128"


@pytest.fixture
def plan(database: Database, account: Account) -> dict[str, Any]:
    """The plan of a search in one of eight collections that share a bucket, after a vacuum as autovacuum makes it."""
    rng = np.random.default_rng(5)
    for number in range(8):
        make_collection(database, account, f"plan {number}", bucket=BUCKET)
        store_embeddings(database, account, f"plan {number}", random_embeddings(rng, 250))
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(f"VACUUM ANALYZE {TABLE}_{BUCKET}")
    sent: list[tuple[str, Any]] = []

    def listen(_c: object, _cursor: object, statement: str, parameters: Any, _x: object, _m: object) -> None:
        sent.append((statement, parameters))

    with database.transaction() as connection:
        collection = collections.get(connection, account.account_id, "plan 4")
        query = random_embeddings(rng, 1)[0].tobytes()
        sa.event.listen(database.engine, "before_cursor_execute", listen)
        try:
            faces.nearest(connection, collection, query, min_cosine=0.0, limit=10)
        finally:
            sa.event.remove(database.engine, "before_cursor_execute", listen)
        statement, parameters = sent[0]
        assert TABLE in statement
        explained = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", parameters).scalar_one()
    root: dict[str, Any] = explained[0]["Plan"]
    return root


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def test_a_search_reads_the_covering_index_of_its_bucket_alone(plan: dict[str, Any]) -> None:
    read = {node["Relation Name"]: node for node in nodes(plan) if "Relation Name" in node}
    assert set(read) == {f"{TABLE}_{BUCKET}", "collections"}
    scan = read[f"{TABLE}_{BUCKET}"]
    assert scan["Node Type"] == "Index Only Scan"
    assert scan["Index Name"] == f"uq_{TABLE}_{BUCKET}"
    assert "collection_id" in scan["Index Cond"]


def test_a_search_is_sorted_exactly_and_not_by_an_approximate_index(plan: dict[str, Any]) -> None:
    (sort,) = [node for node in nodes(plan) if node["Node Type"] == "Sort"]
    assert "+ '0'::double precision" in sort["Sort Key"][0]


def test_sessions_are_set_up_for_searching(database: Database) -> None:
    wanted = {"plan_cache_mode": "force_custom_plan", "jit": "off", "max_parallel_workers_per_gather": "0"}
    wanted |= {"TimeZone": "UTC", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "1min"}
    with database.transaction() as connection:
        found = {name: connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in wanted}
    assert found == wanted


@pytest.mark.parametrize(("live_faces", "workers"), [(200_000, "0"), (200_001, "2")])
def test_large_collections_alone_are_scanned_by_several_processes(
    database: Database, account: Account, live_faces: int, workers: str
) -> None:
    make_collection(database, account)
    with database.transaction() as connection:
        mine = schema.collections.c.account_id == account.account_id
        connection.execute(sa.update(schema.collections).where(mine).values(live_faces=live_faces))
        collection = collections.get(connection, account.account_id, "people")
        query = random_embeddings(np.random.default_rng(6), 1)[0].tobytes()
        assert faces.nearest(connection, collection, query, min_cosine=0.0, limit=10) == []
        assert connection.exec_driver_sql("SHOW max_parallel_workers_per_gather").scalar_one() == workers
    with database.transaction() as connection:
        assert connection.exec_driver_sql("SHOW max_parallel_workers_per_gather").scalar_one() == "0"
