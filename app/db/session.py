"""One engine per process, and the transaction that every query runs in.

Invariant: no transaction spans a fetch, a model run or an HTTP call; a caller opens one, asks, writes, and leaves it.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.engine import Connection, Engine

from app.errors import ServiceUnavailable

#: A row of any shape; its columns are read by name.
Row: TypeAlias = sa.Row[*tuple[Any, ...]]

# force_custom_plan: a generic plan would open every partition of the search table. jit never pays for these queries.
# Parallel workers cost more than they save below 200,000 faces: a search of more lets itself have some (`app.db.vectors`). The
# timeouts bound what a stuck peer can hold up.
_SESSION_OPTIONS = " ".join(
    f"-c {option}"
    for option in (
        "plan_cache_mode=force_custom_plan",
        "jit=off",
        "max_parallel_workers_per_gather=0",
        "statement_timeout=30s",
        "lock_timeout=10s",
        "idle_in_transaction_session_timeout=60s",
        "timezone=UTC",
    )
)

_DEFAULT_PORT = 5432

#: A connection that worked this lately is taken to work still: a ping is a round trip, and a job would wait for eight
#: of them. HikariCP trusts its connections for as long (aliveBypassWindowMs).
TRUSTED_SECONDS = 0.5


def sqlalchemy_url(database_url: str) -> str:
    """Name our driver in a plain postgresql:// URL."""
    return database_url.replace("postgresql://", "postgresql+psycopg://", 1)


def servers(database_url: str) -> list[tuple[str, int]]:
    """List host and port of the servers that a URL names; none for a socket."""
    named = conninfo_to_dict(database_url)
    hosts = str(named.get("host") or "localhost").split(",")
    ports = str(named.get("port") or _DEFAULT_PORT).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [
        (host, int(port or _DEFAULT_PORT))
        for host, port in zip(hosts, ports, strict=True)
        if not host.startswith(("/", "@"))
    ]


class Database:
    """A pool of connections to one Postgres."""

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self.url = url
        self.engine: Engine = sa.create_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=pool_size,
            pool_timeout=5,
            pool_use_lifo=True,  # the connection used last is the one that need not be asked, and knows the statements
            hide_parameters=True,  # an error's text goes to the log, where images, embeddings and secrets have no place
            connect_args={"connect_timeout": 5, "options": _SESSION_OPTIONS, "application_name": "rekollect"},
        )
        _ping_idle_connections(self.engine)
        self._committing = self.engine.execution_options(isolation_level="AUTOCOMMIT")  # over the same pool

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Commit when the block ends, roll back when it raises; a Postgres that is away raises ServiceUnavailable."""
        with _absence_named(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """Run one statement, which commits by itself: a request waits for no round trip of a BEGIN or a COMMIT."""
        with _absence_named(), self._committing.connect() as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """Give a connection outside of the pool, whose statements commit by themselves: its settings and locks end with it."""
        with _absence_named(), self._committing.connect() as connection:
            connection.detach()
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


def _ping_idle_connections(engine: Engine) -> None:
    """Ask a connection that has lain in the pool whether it is alive: a restart of Postgres costs reconnects alone."""

    @sa.event.listens_for(engine, "checkin")
    def note_time(_: Any, record: Any) -> None:
        record.info["used_at"] = time.monotonic()

    @sa.event.listens_for(engine, "checkout")
    def ping(connection: Any, record: Any, _: Any) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < TRUSTED_SECONDS:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise sa.exc.InvalidatePoolError from error


@contextmanager
def _absence_named() -> Iterator[None]:
    try:
        yield
    except (sa.exc.OperationalError, sa.exc.InterfaceError, sa.exc.TimeoutError) as error:
        raise ServiceUnavailable from error


def now(connection: Connection) -> datetime:
    """Give Postgres's time, which is the only one: the start of the transaction."""
    moment: datetime = connection.execute(sa.select(sa.func.now())).scalar_one()
    return moment
