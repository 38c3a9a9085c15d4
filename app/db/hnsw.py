"""The approximate index of one bucket: built, made anew, dropped. Searches and writes go on meanwhile.

These statements commit by themselves and may take hours, so they have a session of their own that ends with whoever runs it.
What was cut off leaves an index that Postgres calls invalid; it serves nobody, and is dropped before the next try.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.domain.search_modes import BUILD_CANDIDATES, CONNECTIONS

_TURN_LOCK = 7_231_002  # any fixed number; nothing else takes it

# A build waits for transactions that are older than it, as a backup is, and nobody waits for the build. Postgres looks now and
# then whether anybody is there still: a worker that died must not be survived by its build for long.
_SESSION = {
    "statement_timeout": "12h",
    "lock_timeout": "2h",
    "client_connection_check_interval": "5s",
}

#: A parallel build takes its memory as shared memory (/dev/shm), which containers have little of.
_OUT_OF_SHARED_MEMORY = "53100"

#: What SQLSTATE says of a statement that somebody ended.
_QUERY_CANCELED = "57014"


def take_turn(session: Connection) -> bool:
    """Make this session the one that works on indexes until it ends; False where another one is it: a build takes all cores."""
    for name, value in _SESSION.items():
        _set(session, name, value)
    return bool(session.execute(sa.select(sa.func.pg_try_advisory_lock(_TURN_LOCK))).scalar_one())


def is_built(connection: Connection, bucket: str) -> bool:
    """Tell whether a bucket's table has an index that may serve."""
    statement = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(connection.execute(statement, {"name": _name(bucket)}).scalar_one_or_none())


def build(session: Connection, bucket: str, *, megabytes: int) -> None:
    """Build the index of a bucket's table, in so much memory."""
    _drop_all(session, bucket, where="NOT indisvalid")
    # Until enough is dead to make the index anew, vacuum leaves it alone: to repair a graph takes longer than to build it.
    session.execute(sa.text(f"ALTER TABLE {bucket} SET (vacuum_index_cleanup = off)"))
    _set(session, "maintenance_work_mem", f"{megabytes}MB")
    try:
        session.execute(sa.text(_statement(bucket)))
    except sa.exc.DBAPIError as error:
        if _sqlstate(error) != _OUT_OF_SHARED_MEMORY:
            raise
        _drop_all(session, bucket, where="NOT indisvalid")
        _set(session, "max_parallel_maintenance_workers", "0")
        session.execute(sa.text(_statement(bucket)))


def _statement(bucket: str) -> str:
    return (
        f"CREATE INDEX CONCURRENTLY {_name(bucket)} ON {bucket} USING hnsw (embedding halfvec_ip_ops)"
        f" WITH (m = {CONNECTIONS}, ef_construction = {BUILD_CANDIDATES})"
    )


def rebuild(session: Connection, bucket: str, *, megabytes: int) -> None:
    """Make the index of a bucket's table anew without its dead rows, then let vacuum take those out of the table."""
    _drop_all(session, bucket, where="NOT indisvalid")
    _set(session, "maintenance_work_mem", f"{megabytes}MB")
    session.execute(sa.text(f"REINDEX INDEX CONCURRENTLY {_name(bucket)}"))
    session.execute(sa.text(f"VACUUM (INDEX_CLEANUP ON) {bucket}"))


def drop(session: Connection, bucket: str) -> None:
    """Drop the index of a bucket's table, and what builds of it have left, where there is any."""
    _drop_all(session, bucket, where="true")
    is_left_alone = (
        "SELECT 'vacuum_index_cleanup=off' = ANY (reloptions) FROM pg_class WHERE oid = to_regclass(:bucket)"
    )
    if session.execute(sa.text(is_left_alone), {"bucket": bucket}).scalar_one_or_none():
        session.execute(sa.text(f"ALTER TABLE {bucket} RESET (vacuum_index_cleanup)"))


def stop(connection: Connection, bucket: str) -> None:
    """End the build that is under way for a bucket's table, where there is one."""
    statement = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index WHERE relid = to_regclass(:bucket)"
    connection.execute(sa.text(statement), {"bucket": bucket})


def was_stopped(error: BaseException) -> bool:
    """Tell whether work was ended by somebody, and not by a fault."""
    return _sqlstate(error) == _QUERY_CANCELED


def reason(error: BaseException) -> str:
    """Give what Postgres says went wrong, on one line."""
    return str(getattr(error, "orig", error)).partition("\n")[0]


def _drop_all(session: Connection, bucket: str, *, where: str) -> None:
    """Drop approximate indexes of a table; a REINDEX that was cut off leaves one under a name of its own."""
    statement = f"""
        SELECT indexrelid::regclass::text FROM pg_index
        JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
        WHERE indrelid = to_regclass(:bucket) AND amname = 'hnsw' AND {where}"""  # noqa: S608 - our own words
    for name in list(session.execute(sa.text(statement), {"bucket": bucket}).scalars()):
        session.execute(sa.text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))


def _name(bucket: str) -> str:
    return f"hnsw_{bucket}"


def _set(session: Connection, name: str, value: str) -> None:
    session.execute(sa.select(sa.func.set_config(name, value, False)))


def _sqlstate(error: BaseException) -> str | None:
    found: str | None = getattr(getattr(error, "orig", None), "sqlstate", None)
    return found
