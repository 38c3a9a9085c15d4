"""The whole of Rekollect on one machine: servers, api, workers, courier, beat.

Invariant: after `stop`, also one in the middle of `start`, nothing that was started is left: whatever `start` does, it
first notes its undoing. Supervision is a pass that the owner calls (`tend`), not a thread: children die with the thread
that started them, so they are all started by the owner's.
"""

import http.client
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import psycopg

from app.assets import pull_models
from app.config import PREFIX, Settings
from app.db import migrate
from app.local.data_directory import DataDirectory
from app.local.errors import LocalError
from app.local.postgres import LocalPostgres
from app.local.process import log_tail
from app.local.supervised import Supervised
from app.local.valkey import LocalValkey
from app.services.access_keys import NewKey, ensure_first_key

Report = Callable[[str], None]
_STOP_SECONDS = 6.0  # for our own processes; the two servers need a moment more
_API_TRIES = 3
_PROBE_SECONDS = 1.0
_BACKLOG = 2048  # as gunicorn's own


class Stack:
    """Everything that `rekollect up` runs; start, tend every quarter second, stop."""

    def __init__(
        self,
        settings_environment: Mapping[str, str],
        data_dir: Path,
        host: str = "127.0.0.1",
        port: int = 8080,
        workers: int = 1,
        report: Report = print,
        *,
        durable: bool = True,
    ) -> None:
        self.directory = DataDirectory(data_dir)
        self.host, self.port = host, port
        self.variables = {name: value for name, value in settings_environment.items() if name.startswith(PREFIX)}
        self.first_key: NewKey | None = None
        self._workers = workers
        self._report = report
        self._postgres = None if self._has("DATABASE_URL") else LocalPostgres(self.directory.postgres, durable=durable)
        self._valkey = None if self._has("REDIS_URL") else LocalValkey(self.directory.valkey)
        self._processes: list[Supervised] = []
        self._undo = ExitStack()
        self._said_ready = False

    def __enter__(self) -> "Stack":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where a client on this machine reaches the API."""
        name = self._reachable_host()
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}"

    @property
    def settings(self) -> Settings:
        """The settings that all processes of this stack share."""
        return Settings.from_environment(self.variables)

    def start(self) -> None:
        """Start everything in order and return while the api warms up; raises LocalError with what to do."""
        self.settings  # noqa: B018  (raises SettingsError before anything is started)
        self._undo.callback(self.directory.close)
        self.directory.open()
        listener = self._undo.enter_context(listen(self.host, self.port))
        if not self._has("SECRET_KEY"):
            self.variables[PREFIX + "SECRET_KEY"] = self.directory.secret_key()
        pull_models(self.settings, lambda line: self._report("models     " + line))
        self._start_servers()
        self.directory.keep_environment(self.variables)
        self._prepare_database()
        self._start_processes(listener.fileno())

    def stop(self) -> None:
        """Stop everything, newest first, within about ten seconds; may be called at any time and again."""
        self._undo.close()
        self._processes.clear()
        self._said_ready = False

    def ready(self) -> bool:
        """Ask the api whether it can serve."""
        connection = http.client.HTTPConnection(self._reachable_host(), self.port, timeout=_PROBE_SECONDS)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_until_ready(self, seconds: float = 60.0) -> None:
        """Tend the processes until the api can serve; raises LocalError when it cannot in time."""
        deadline = time.monotonic() + seconds
        while not self._said_ready:
            if time.monotonic() > deadline:
                log = self.directory.logs / "api.log"
                raise LocalError(f"the api was not ready after {seconds:g} s; {log} ends:\n{log_tail(log)}")
            self.tend()
            time.sleep(0.1)

    def tend(self) -> None:
        """Make one round: start again what died, and say so; raises LocalError when the api cannot run at all."""
        for name, server in (("postgres", self._postgres), ("valkey", self._valkey)):
            if server is not None and server.pid is None:
                self._say(name, None, "died; starting again")
                server.start()
                self._say(name, server.pid, "started again")
        for child in self._processes:
            news = child.tend()
            if news is not None:
                self._say(child.name, child.pid, news)
            if child.name == "api" and child.deaths >= _API_TRIES and not self._said_ready:
                raise LocalError(f"the api does not start; {child.log} ends:\n{log_tail(child.log)}")
        if not self._said_ready and self.ready():
            self._said_ready = True
            self._report("ready")

    def _has(self, name: str) -> bool:
        return bool(self.variables.get(PREFIX + name))

    def _reachable_host(self) -> str:
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104

    def _start_servers(self) -> None:
        for name, server, variable in (
            ("postgres", self._postgres, "DATABASE_URL"),
            ("valkey", self._valkey, "REDIS_URL"),
        ):
            if server is None:
                self._say(name, None, f"from {PREFIX}{variable}")
                continue
            self._undo.callback(server.stop)
            server.start()
            self.variables[PREFIX + variable] = server.url
            self._say(name, server.pid, "running")

    def _prepare_database(self) -> None:
        url = self.variables[PREFIX + "DATABASE_URL"]
        require_database(url)
        migrate.upgrade(url)
        self.first_key = ensure_first_key(url, self.settings)
        if self.first_key is None:
            return
        self.directory.keep_credentials(self.first_key)
        if not self._has("BOOTSTRAP_SECRET_ACCESS_KEY"):
            self._report(f"first access key, shown once (kept in {self.directory.credentials}):")
            self._report(f"  aws_access_key_id         {self.first_key.access_key_id}")
            self._report(f"  aws_secret_access_key     {self.first_key.secret_access_key}")
            self._report(f"  rekollect_api_key         {self.first_key.api_key}")
            self._report(f"  rekollect_webhook_secret  {self.first_key.webhook_secret}")

    def _start_processes(self, listener: int) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment = inherited | self.variables
        # The socket outlives each api process: a request that comes while none listens waits for the next one.
        commands = {"api": ["api", "--fd", str(listener)]}
        for number in range(1, self._workers + 1):
            commands["worker" if self._workers == 1 else f"worker-{number}"] = ["worker"]
        commands |= {"courier": ["courier"], "beat": ["beat"]}
        self._undo.callback(self._stop_processes)
        for name, command in commands.items():
            log = self.directory.logs / f"{name}.log"
            child = Supervised(name, command, log, environment, [listener] if name == "api" else ())
            self._processes.append(child)
            child.start()
            self._say(name, child.pid, f"started  {self.url}" if name == "api" else "started")

    def _stop_processes(self) -> None:
        for child in self._processes:
            child.ask_to_stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for child in self._processes:
            child.end(deadline)

    def _say(self, name: str, pid: int | None, state: str) -> None:
        self._report(f"{name:<10} {f'pid {pid}' if pid else '-':<12} {state}")


def require_database(url: str) -> None:
    """Raise LocalError where Postgres does not answer."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.Error as error:
        raise LocalError(f"cannot reach the database of {PREFIX}DATABASE_URL: {error}") from error


def require_free_port(host: str, port: int) -> None:
    """Raise LocalError where the api could not listen, and name the port."""
    listen(host, port).close()


def listen(host: str, port: int) -> socket.socket:
    """Open the api's socket; raises LocalError that names the port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except PermissionError as error:
        raise LocalError(f"not allowed to listen on port {port}; choose one above 1023 with --port") from error
    except OSError as error:
        raise LocalError(
            f"cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}; choose another --port"
        ) from error
