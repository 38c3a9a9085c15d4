"""What tests of the local servers look at: processes, sockets, and whether a server answers."""

import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest


@pytest.fixture(name="folder")
def open_folder() -> Iterator[Path]:
    """Give a folder that every account may enter, as most clones are; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="rekollect-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_until_gone(pids: list[int], seconds: float = 5.0) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def sockets_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


def note(url: str) -> int:
    """Write one row and count all."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO note DEFAULT VALUES")
        row = connection.execute("SELECT count(*) FROM note").fetchone()
    assert row is not None
    return int(row[0])


def ping(url: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(url.removeprefix("redis+socket://"))
        connection.sendall(b"PING\r\n")
        return connection.recv(16)
