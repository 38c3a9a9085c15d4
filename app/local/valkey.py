"""A Valkey server of our own, for one machine: no port, no file, one private socket.

It is a doorbell and may lose everything, so it saves nothing. It refuses writes when full instead of dropping messages:
a refused ring is heard again at the next sweep, a dropped one would look delivered.
"""

import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

from app.local import process
from app.local.binaries import valkey_program
from app.local.errors import AlreadyInUse, LocalError
from app.local.sockets import SocketFolder

_START_SECONDS = 10.0
_PATIENCE_SECONDS = 2.0  # a server whose supervisor was killed needs a moment to end
_STOP = ((signal.SIGTERM, 3.0),)
_SETTINGS = {
    "port": "0",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
    "unixsocketperm": "700",
    "daemonize": "no",
}


class LocalValkey:
    """One server on one directory."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir.absolute()
        self._log = self._folder / "valkey.log"
        self._sockets = SocketFolder(self._folder / "socket", "valkey.sock")
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """redis+socket:///PATH: what REKOLLECT_REDIS_URL, Celery and kombu take."""
        return f"redis+socket://{quote(str(self._sockets.socket))}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start and wait until it answers a PING; raises LocalError or AlreadyInUse with what to do."""
        if self.pid is not None:
            return
        program = valkey_program()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._wait_for_a_killed_one()
        self._sockets.open(lambda _: None)
        arguments = [str(program), "--unixsocket", str(self._sockets.socket), "--dir", str(self._folder)]
        for name, value in _SETTINGS.items():
            arguments += [f"--{name}", value]
        self._child = process.start(arguments, log=self._log, death_signal=signal.SIGTERM)
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server; a stopped server can be started again, empty."""
        if self._child is not None:
            process.stop(self._child, _STOP)
            self._child = None
        self._sockets.close()

    def kill(self) -> None:
        """Kill it as a crash would, leaving its socket; only tests want that."""
        if self._child is not None:
            process.kill(self._child)
            self._child = None

    def _wait_for_a_killed_one(self) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while self._answers():
            if time.monotonic() > deadline:
                raise AlreadyInUse(f"another Valkey uses {self._folder}: stop it, or use another --data-dir")
            time.sleep(0.05)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while self.pid is not None and time.monotonic() < deadline:
            if self._answers():
                return
            time.sleep(0.02)
        raise LocalError(f"Valkey did not start in {self._folder}; its log ends:\n{process.log_tail(self._log)}")

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            try:
                connection.connect(str(self._sockets.socket))
                connection.sendall(b"PING\r\n")
                return connection.recv(5) == b"+PONG"
            except OSError:
                return False
