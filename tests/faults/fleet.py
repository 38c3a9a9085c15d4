"""A fleet: Postgres, Valkey and several processes of each kind of ours, which a test kills, freezes and starts again by name.

What was killed stays away for as long as was asked, whatever a supervisor would do; only `tend` brings it back. All processes
are started by the thread that tends, because they die with it.
"""

import base64
import contextlib
import os
import random
import secrets
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from app.assets import pull_models
from app.config import PREFIX, Settings
from app.db import migrate
from app.local.postgres import LocalPostgres
from app.local.stack import listen
from app.local.supervised import Supervised
from app.local.valkey import LocalValkey
from app.services.access_keys import NewKey, ensure_first_key
from tests.live import Client, free_port
from tests.patience import wait_until
from tests.s3 import S3Server

KINDS = ("api", "worker", "courier", "beat")
SERVERS = ("postgres", "valkey")


class Fleet(Client):
    """`counts` says how many of each kind; `environments` gives a process by name something of its own."""

    def __init__(
        self,
        folder: Path,
        *,
        counts: dict[str, int],
        s3: S3Server | None = None,
        s3_url: str = "",
        environments: dict[str, dict[str, str]] | None = None,
        **settings: str,
    ) -> None:
        self.logs = folder / "logs"
        self.postgres = LocalPostgres(folder / "postgres")
        self.valkey = LocalValkey(folder / "valkey")
        self.children: dict[str, Supervised] = {}
        self.url = f"http://127.0.0.1:{free_port()}"
        self._counts = counts
        self._environments = environments or {}
        self._back_at: dict[str, float] = {}
        self._thaw_at: dict[str, float] = {}
        self._undo = ExitStack()
        self.variables = {
            **{name: os.environ[name] for name in _PLACES if name in os.environ},
            "REKOLLECT_DIAL_ALLOW": "127.0.0.0/8",
            "REKOLLECT_SECRET_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "REKOLLECT_DATABASE_URL": self.postgres.url,
            "REKOLLECT_REDIS_URL": self.valkey.url,
            **({} if s3 is None else _store(s3, s3_url)),
            **settings,
        }

    @property
    def database_url(self) -> str:
        return self.postgres.url

    def __enter__(self) -> "Fleet":
        with self._undo:
            self._start()
            self._undo = self._undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def _start(self) -> None:
        self.logs.mkdir(parents=True)
        for server in (self.postgres, self.valkey):
            self._undo.callback(server.stop)
            server.start()
        self.variables |= {"REKOLLECT_DATABASE_URL": self.postgres.url, "REKOLLECT_REDIS_URL": self.valkey.url}
        pull_models(self.settings, lambda _: None)
        migrate.upgrade(self.database_url)
        self.key = _made(ensure_first_key(self.database_url, self.settings))
        self._listener = self._undo.enter_context(listen("127.0.0.1", int(self.url.rpartition(":")[2]))).fileno()
        self._undo.callback(self._end_all)
        for kind, count in self._counts.items():
            for number in range(1, count + 1):
                self._launch(f"{kind}-{number}")
        wait_until(self.is_ready, 90, what=self.last_words)

    def _launch(self, name: str) -> None:
        kind = name.partition("-")[0]
        command, sockets = ([kind, "--fd", str(self._listener)], [self._listener]) if kind == "api" else ([kind], [])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
        environment = inherited | self.variables | self._environments.get(name, {})
        self.children[name] = Supervised(name, command, self.logs / f"{name}.log", environment, sockets)
        self.children[name].start()

    def relaunch(self, name: str, **variables: str) -> None:
        """Kill a process and start it with variables of its own beside those of the fleet."""
        self._environments[name] = variables
        self.children[name].end(0.0)
        self._launch(name)

    @property
    def settings(self) -> Settings:
        """The settings that all processes share."""
        return Settings.from_environment(self.variables)

    def _end_all(self) -> None:
        for name in list(self._thaw_at):
            self._thaw(name)
        for child in self.children.values():
            child.ask_to_stop()
        deadline = time.monotonic() + 5
        for child in self.children.values():
            child.end(deadline)

    def is_ready(self) -> bool:
        """Tell whether the API serves and every process of ours that should be there has come up."""
        with contextlib.suppress(OSError):
            return self.call("GET", "/readyz").status == 200 and all(
                "worker_ready" in child.log.read_text()
                for name, child in self.children.items()
                if name.startswith(("worker", "courier"))
            )
        return False

    def last_words(self) -> str:
        """Give the end of each process's log."""
        return "\n".join(f"{name}: {child.log.read_text()[-400:]}" for name, child in self.children.items())

    def logged(self, text: str) -> int:
        """Count a text in the logs of all processes."""
        return sum(child.log.read_text().count(text) for child in self.children.values())

    def names(self, kind: str) -> list[str]:
        """List what is up of a kind, or the server of that name."""
        known = [kind] if kind in SERVERS else [name for name in self.children if name.startswith(kind + "-")]
        return [name for name in known if name not in self._back_at and name not in self._thaw_at]

    def pid(self, name: str) -> int | None:
        """Give the id of a process that is there."""
        return self._server(name).pid if name in SERVERS else self.children[name].pid

    def kill(self, name: str, *, away: float, number: signal.Signals = signal.SIGKILL) -> None:
        """End a process by a signal and keep it away for some seconds; a dead Valkey has lost everything."""
        pid = self.pid(name)
        self._back_at[name] = time.monotonic() + away
        if pid is not None:
            os.kill(pid, number)

    def kill_child(self, name: str, chance: random.Random) -> None:
        """Kill a process that another one has started and starts again: one of gunicorn's, or one of Postgres's."""
        pid = self.pid(name)
        children = [] if pid is None else family(pid)[1:]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(children), signal.SIGKILL)

    def freeze(self, name: str, seconds: float) -> None:
        """Stop a process with all that it started; it goes on after some seconds as if nothing had been."""
        pid = self.pid(name)
        if pid is not None:
            self._thaw_at[name] = time.monotonic() + seconds
            _signal_all(pid, signal.SIGSTOP)

    def _thaw(self, name: str) -> None:
        self._thaw_at.pop(name, None)
        pid = self.pid(name)
        if pid is not None:
            _signal_all(pid, signal.SIGCONT)

    def tend(self) -> None:
        """Bring back what was away or frozen for long enough, and at once what ended by itself."""
        now = time.monotonic()
        for name in [name for name, at in self._thaw_at.items() if at <= now]:
            self._thaw(name)
        for name in (*SERVERS, *self.children):
            if self._back_at.get(name, 0.0) <= now and (name in self._back_at or self.pid(name) is None):
                self._start_again(name)

    def _start_again(self, name: str) -> None:
        if name in SERVERS:
            server = self._server(name)
            if server.pid is not None:
                server.kill()
            server.start()
        else:
            child = self.children[name]
            child.end(time.monotonic() + _PATIENCE_SECONDS)
            child.start()
        self._back_at.pop(name, None)

    def calm_down(self) -> None:
        """Let everything come back that is away or frozen."""
        self._back_at = dict.fromkeys(self._back_at, 0.0)
        self._thaw_at = dict.fromkeys(self._thaw_at, 0.0)
        self.tend()

    def wait(self, happened: Callable[[], object], seconds: float, what: Callable[[], object] | str) -> None:
        """Tend until a condition holds, and fail where it does not in time."""

        def tended() -> object:
            self.tend()
            return happened()

        wait_until(tended, seconds, what=what)

    def _server(self, name: str) -> LocalPostgres | LocalValkey:
        return self.postgres if name == "postgres" else self.valkey


_PLACES = ("REKOLLECT_MODELS_DIR", "REKOLLECT_CACHE_DIR")

#: A process that was asked to end politely gets this long before it is killed.
_PATIENCE_SECONDS = 30.0


def _store(s3: S3Server, url: str) -> dict[str, str]:
    return {
        "REKOLLECT_S3_ENDPOINT_URL": url or s3.endpoint_url,
        "REKOLLECT_S3_ACCESS_KEY_ID": s3.access_key_id,
        "REKOLLECT_S3_SECRET_ACCESS_KEY": s3.secret_access_key,
    }


def _made(key: NewKey | None) -> NewKey:
    assert key is not None, "the database has keys already"
    return key


def family(pid: int) -> list[int]:
    """Give a process and all that descend from it."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return [pid]
    return [pid, *(one for child in children for one in family(int(child)))]


def _signal_all(pid: int, number: signal.Signals) -> None:
    for one in family(pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(one, number)
