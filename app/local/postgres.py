"""A PostgreSQL with pgvector of our own, for one machine: no port, no password, one private socket.

Invariant: one live server per directory, and none survives us. `cluster` exists only when initdb had finished (it is
made beside it and renamed), so an interrupted start is simply done again; a kill -9 costs a crash recovery, never data.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import psycopg

from app.local import process
from app.local.account import Account, unprivileged_account
from app.local.binaries import postgres_programs, require_processor
from app.local.cluster import release
from app.local.errors import LocalError
from app.local.sockets import SocketFolder

_NAME = "rekollect"  # of the superuser and of the database
_START_SECONDS = 60.0  # crash recovery included
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_locks_per_transaction": "256",  # the search tables have many partitions
    "random_page_cost": "1.1",
    "wal_level": "minimal",  # one machine, no replica
    "max_wal_senders": "0",
    "max_wal_size": "1GB",
    "log_error_verbosity": "terse",  # the details of an error quote rows: embeddings, pictures, secrets
    "log_line_prefix": "%m [%p] ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# Fast shutdown, then shutdown without a checkpoint (recovered at the next start), then the hard way.
_STOP = ((signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0))


class LocalPostgres:
    """One server on one directory; `durable=False` forgets on a power failure and is meant for tests."""

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self._folder = data_dir.absolute()
        self._cluster = self._folder / "cluster"
        self._log = self._folder / "postgres.log"
        self._durable = durable
        self._sockets = SocketFolder(self._folder / "socket", ".s.PGSQL.5432")
        self._account: Account | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """postgresql://rekollect@/rekollect?host=FOLDER: what REKOLLECT_DATABASE_URL, SQLAlchemy and psycopg take."""
        return self._url(_NAME)

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start and wait until the database answers; raises LocalError or AlreadyInUse with what to do."""
        if self.pid is not None:
            return
        require_processor()
        programs = postgres_programs()
        self._prepare(programs)
        release(self._cluster)
        self._sockets.open(self._own)
        arguments = [str(programs / "postgres"), "-D", str(self._cluster), "-k", str(self._sockets.path)]
        for name, value in (_SETTINGS if self._durable else _SETTINGS | _FORGETFUL).items():
            arguments += ["-c", f"{name}={value}"]
        self._child = self._run(arguments, signal.SIGINT)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server within seconds; a stopped server can be started again."""
        if self._child is not None:
            process.stop(self._child, _STOP)
            self._child = None
        self._sockets.close()

    def kill(self) -> None:
        """Kill it as a power failure would; only tests want that."""
        if self._child is not None:
            process.kill(self._child)
            self._child = None

    def _url(self, database: str) -> str:
        return f"postgresql://{_NAME}@/{database}?host={quote(str(self._sockets.path))}"

    def _prepare(self, programs: Path) -> None:
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        self._account = unprivileged_account(self._folder, [self._folder.parent, programs])
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._folder.chmod(0o700)
        self._own(self._folder)
        if self._cluster.exists():
            return
        unfinished = self._folder / "cluster.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._initialise(programs, unfinished)
        unfinished.rename(self._cluster)

    def _initialise(self, programs: Path, folder: Path) -> None:
        arguments = [str(programs / "initdb"), "-D", str(folder), "-U", _NAME, "-A", "trust", "-E", "UTF8"]
        # The built-in locale sorts alike on every machine.
        arguments += ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"]
        if not self._durable:
            arguments.append("--no-sync")
        child = self._run(arguments, signal.SIGTERM)
        try:
            code = child.wait(_START_SECONDS)
        finally:
            process.kill(child)
        if code != 0:
            raise LocalError(f"initdb failed in {self._folder}:\n{process.log_tail(self._log)}")

    def _run(self, arguments: list[str], death_signal: signal.Signals) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return process.start(
            arguments, log=self._log, death_signal=death_signal, environment=environment, account=self._account
        )

    def _own(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.pid is not None:
            try:
                with psycopg.connect(self._url("postgres"), connect_timeout=2, autocommit=True) as connection:
                    self._make_database(connection)
                return
            except psycopg.OperationalError:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.02)
        raise LocalError(f"Postgres did not start in {self._folder}; its log ends:\n{process.log_tail(self._log)}")

    @staticmethod
    def _make_database(connection: psycopg.Connection) -> None:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_NAME,)).fetchone()
        if found is None:
            connection.execute(f"CREATE DATABASE {_NAME}")
