"""A `rekollect up` that a test runs as a person would, and what is left of it afterwards."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

# Generous, because a test machine may be busy; the first test of test_up.py holds us to less.
READY_SECONDS = 60.0
STOP_SECONDS = 30.0
_NOT_INHERITED = {
    "REKOLLECT_DATABASE_URL",
    "REKOLLECT_REDIS_URL",
    "REKOLLECT_SECRET_KEY",
    "REKOLLECT_BOOTSTRAP_ACCESS_KEY_ID",
    "REKOLLECT_BOOTSTRAP_SECRET_ACCESS_KEY",
}


class Up:
    """One running `rekollect up` and what it printed."""

    def __init__(self, folder: Path, port: int, *options: str, environment: dict[str, str] | None = None) -> None:
        self.port = port
        self.lines: list[str] = []
        command = [sys.executable, "-P", "-m", "app.cli.main", "up", "--port", str(port), *options]
        inherited = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=inherited | (environment or {}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    @property
    def pids(self) -> dict[str, int]:
        found = (re.match(r"(\S+) +pid (\d+)", line) for line in self.lines)
        return {match[1]: int(match[2]) for match in found if match}

    def wait_until_it_says(self, text: str, seconds: float = READY_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.output:
            assert time.monotonic() < deadline, f"did not say {text!r} in time:\n{self.output}"
            assert self.process.poll() is None, f"ended early:\n{self.output}"
            time.sleep(0.05)

    def wait_until_ready(self) -> "Up":
        self.wait_until_it_says("\nready")
        return self

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask it to end, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        code = self.process.wait(seconds)
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def status_of(up: Up) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{up.port}/readyz", timeout=2) as answer:
            return int(answer.status)
    except urllib.error.URLError:
        return 0
