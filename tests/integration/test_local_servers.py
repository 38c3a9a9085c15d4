"""The embedded Postgres and Valkey: they keep their data, survive a kill, and never outlive whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.local.cluster import release
from app.local.errors import AlreadyInUse, LocalError
from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey
from tests.local_servers import note, open_folder, ping, sockets_under, wait_until_gone

__all__ = ["open_folder"]  # a fixture

_START_BOTH_AND_WAIT = """
import sys, time
from pathlib import Path
from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey
folder = Path(sys.argv[1])
servers = LocalPostgres(folder / "postgres", durable=False), LocalValkey(folder / "valkey")
for server in servers:
    server.start()
print(*(server.pid for server in servers), flush=True)
time.sleep(600)
"""


@pytest.fixture
def postgres(folder: Path) -> Iterator[LocalPostgres]:
    server = LocalPostgres(folder / "postgres", durable=False)
    yield server
    server.stop()


@pytest.fixture
def valkey(folder: Path) -> Iterator[LocalValkey]:
    server = LocalValkey(folder / "valkey")
    yield server
    server.stop()


def test_postgres_has_pgvector_and_searches_half_precision(postgres: LocalPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE EXTENSION vector")
        row = connection.execute("SELECT '[1,0]'::halfvec <=> '[0,1]'::halfvec").fetchone()
    assert row == (1.0,)


def test_postgres_keeps_its_data_over_a_restart(postgres: LocalPostgres) -> None:
    postgres.start()
    note(postgres.url)
    postgres.stop()
    postgres.start()
    assert note(postgres.url) == 2


def test_a_stopped_server_leaves_no_process_and_no_socket(
    folder: Path, postgres: LocalPostgres, valkey: LocalValkey
) -> None:
    pids = []
    for server in (postgres, valkey):
        server.start()
        assert server.pid is not None
        pids.append(server.pid)
    assert len(sockets_under(folder)) == 2
    for server in (postgres, valkey):
        server.stop()
        assert server.pid is None
    assert wait_until_gone(pids) == []
    assert sockets_under(folder) == []


def test_postgres_listens_on_no_port_and_its_folder_is_private(folder: Path, postgres: LocalPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert (folder / "postgres").stat().st_mode & 0o077 == 0
    assert (folder / "postgres" / "socket").stat().st_mode & 0o077 == 0


def test_postgres_starts_again_after_kill_9_with_all_that_was_committed(folder: Path) -> None:
    server = LocalPostgres(folder / "postgres")
    server.start()
    note(server.url)
    server.kill()
    again = LocalPostgres(folder / "postgres")
    try:
        again.start()
        assert note(again.url) == 2
    finally:
        again.stop()


def test_postgres_starts_although_its_old_process_id_now_belongs_to_another_process(
    folder: Path, postgres: LocalPostgres
) -> None:
    """Common in containers, where process ids repeat."""
    postgres.start()
    lock = folder / "postgres" / "cluster" / "postmaster.pid"
    text = lock.read_text()
    postgres.stop()
    stranger = subprocess.Popen(["sleep", "60"], user=lock.parent.stat().st_uid if os.geteuid() == 0 else None)
    try:
        lock.write_text(text.replace(text.split()[0], str(stranger.pid), 1))
        postgres.start()
        assert note(postgres.url) == 1
    finally:
        stranger.kill()
        stranger.wait()


def test_a_second_postgres_on_the_same_folder_is_refused_and_the_first_lives_on(
    folder: Path, postgres: LocalPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.local.cluster._PATIENCE_SECONDS", 0.2)
    postgres.start()
    second = LocalPostgres(folder / "postgres", durable=False)
    with pytest.raises(AlreadyInUse, match=f"pid {postgres.pid}"):
        second.start()
    second.stop()
    assert note(postgres.url) == 1


def test_an_interrupted_initdb_is_done_again(folder: Path, postgres: LocalPostgres) -> None:
    unfinished = folder / "postgres" / "cluster.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert note(postgres.url) == 1


def test_a_failed_start_shows_the_end_of_the_log(folder: Path, postgres: LocalPostgres) -> None:
    postgres.start()
    postgres.stop()
    (folder / "postgres" / "cluster" / "postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(LocalError, match="no_such_setting"):
        postgres.start()


def test_valkey_starts_empty_after_a_restart_and_refuses_rather_than_forgets_when_full(valkey: LocalValkey) -> None:
    valkey.start()
    path = valkey.url.removeprefix("redis+socket://")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"SET a 1\r\nCONFIG GET maxmemory-policy\r\n")
        time.sleep(0.05)
        assert b"noeviction" in connection.recv(200)
    valkey.stop()
    valkey.start()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(b"EXISTS a\r\n")
        assert connection.recv(16) == b":0\r\n"


def test_valkey_starts_again_after_kill_9(folder: Path, valkey: LocalValkey) -> None:
    valkey.start()
    valkey.kill()
    assert len(sockets_under(folder)) == 1
    again = LocalValkey(folder / "valkey")
    again.start()
    try:
        assert ping(again.url) == b"+PONG\r\n"
    finally:
        again.stop()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["open folder", "closed folder"])
def test_kill_9_of_whoever_started_them_leaves_no_child(folder: Path, mode: int) -> None:
    """As root, a closed folder makes Postgres start through setpriv, which must keep the promise too."""
    closed = folder / "closed"
    closed.mkdir(mode=mode)
    parent = subprocess.Popen(
        [sys.executable, "-P", "-c", _START_BOTH_AND_WAIT, str(closed)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        children = [int(word) for word in parent.stdout.readline().split()]
        assert len(children) == 2
        parent.send_signal(signal.SIGKILL)
    assert wait_until_gone(children) == []


def test_release_leaves_a_folder_without_a_lock_file_alone(folder: Path) -> None:
    release(folder)
    assert list(folder.iterdir()) == []
