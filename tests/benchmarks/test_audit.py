"""What a line of the audit log costs in the transaction that it is written in, on a Postgres with fsync."""

import statistics
import time
import uuid

import pytest

from app.db import migrate
from app.db.session import Database
from app.domain.audit import Actor, ActorKind, Line
from app.local.postgres import LocalPostgres
from app.services import audit

pytestmark = pytest.mark.bench

LINES = 2000
ACTOR = Actor(ActorKind.KEY, "REKOABCDEFGHIJKLMNOP", "192.0.2.1", str(uuid.uuid4()))


def test_a_line_costs_less_than_two_milliseconds(tmp_path_factory: pytest.TempPathFactory) -> None:
    server = LocalPostgres(tmp_path_factory.mktemp("audit") / "data")
    server.start()
    try:
        migrate.upgrade(server.url)
        database = Database(server.url)
        took = sorted(_write_line(database) for _ in range(LINES))
        with database.transaction() as connection:
            size = connection.exec_driver_sql("SELECT pg_total_relation_size('audit_log')").scalar_one()
        database.close()
    finally:
        server.stop()
    print(
        f"\na line: p50 {1000 * statistics.median(took):.2f} ms, p99 {1000 * took[int(0.99 * LINES)]:.2f} ms,", end=" "
    )
    print(f"{size // LINES} bytes with its indexes")
    assert statistics.median(took) < 0.002


def _write_line(database: Database) -> float:
    """Write a line in a transaction that is open; give the seconds that the line took."""
    line = Line(1, ACTOR, "SearchFacesByImage", "people", {"JobId": str(uuid.uuid4())}, count=3)
    with database.transaction() as connection:
        connection.exec_driver_sql("SELECT 1")
        began = time.perf_counter()
        audit.note(connection, line)
        return time.perf_counter() - began
