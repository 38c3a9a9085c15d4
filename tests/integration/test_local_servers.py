"""The embedded Postgres and Valkey: they keep their data, survive a kill, and never outlive whoever started them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.local.account import closed_folder, unprivileged_account
from app.local.binaries import missing_processor_flags, postgres_programs
from app.local.cluster import release
from app.local.errors import AlreadyInUse, LocalError
from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey

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
def folder() -> Iterator[Path]:
    """Give a folder that every account may enter, as most clones are; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="servers-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


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


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def _wait_until_gone(pids: list[int], seconds: float = 5.0) -> list[int]:
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


def _sockets_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_socket()]


def _note(url: str) -> int:
    """Write one row and count all."""
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS note (at timestamptz DEFAULT now())")
        connection.execute("INSERT INTO note DEFAULT VALUES")
        row = connection.execute("SELECT count(*) FROM note").fetchone()
    assert row is not None
    return int(row[0])


def _ping(url: str) -> bytes:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(url.removeprefix("redis+socket://"))
        connection.sendall(b"PING\r\n")
        return connection.recv(16)


def test_postgres_has_pgvector_and_searches_half_precision(postgres: LocalPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        connection.execute("CREATE EXTENSION vector")
        row = connection.execute("SELECT '[1,0]'::halfvec <=> '[0,1]'::halfvec").fetchone()
    assert row == (1.0,)


def test_postgres_keeps_its_data_over_a_restart(postgres: LocalPostgres) -> None:
    postgres.start()
    _note(postgres.url)
    postgres.stop()
    postgres.start()
    assert _note(postgres.url) == 2


def test_a_stopped_server_leaves_no_process_and_no_socket(
    folder: Path, postgres: LocalPostgres, valkey: LocalValkey
) -> None:
    pids = []
    for server in (postgres, valkey):
        server.start()
        assert server.pid is not None
        pids.append(server.pid)
    assert len(_sockets_under(folder)) == 2
    for server in (postgres, valkey):
        server.stop()
        assert server.pid is None
    assert _wait_until_gone(pids) == []
    assert _sockets_under(folder) == []


def test_postgres_listens_on_no_port_and_its_folder_is_private(folder: Path, postgres: LocalPostgres) -> None:
    postgres.start()
    with psycopg.connect(postgres.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    assert (folder / "postgres").stat().st_mode & 0o077 == 0
    assert (folder / "postgres" / "socket").stat().st_mode & 0o077 == 0


def test_postgres_starts_again_after_kill_9_with_all_that_was_committed(folder: Path) -> None:
    server = LocalPostgres(folder / "postgres")
    server.start()
    _note(server.url)
    server.kill()
    again = LocalPostgres(folder / "postgres")
    try:
        again.start()
        assert _note(again.url) == 2
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
        assert _note(postgres.url) == 1
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
    assert _note(postgres.url) == 1


def test_an_interrupted_initdb_is_done_again(folder: Path, postgres: LocalPostgres) -> None:
    unfinished = folder / "postgres" / "cluster.new"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres.start()
    assert _note(postgres.url) == 1


def test_a_failed_start_shows_the_end_of_the_log(folder: Path, postgres: LocalPostgres) -> None:
    postgres.start()
    postgres.stop()
    (folder / "postgres" / "cluster" / "postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(LocalError, match="no_such_setting"):
        postgres.start()


def test_a_folder_too_deep_for_a_socket_still_works_and_leaves_nothing(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    for server in (LocalPostgres(deep / "postgres", durable=False), LocalValkey(deep / "valkey")):
        server.start()
        outside = (deep / ("postgres" if isinstance(server, LocalPostgres) else "valkey") / "socket").readlink()
        assert outside.stat().st_mode & 0o077 == 0
        if isinstance(server, LocalPostgres):
            assert _note(server.url) == 1
        else:
            assert _ping(server.url) == b"+PONG\r\n"
        server.stop()
        assert not outside.exists()


def test_what_a_killed_server_left_outside_is_removed_at_the_next_start(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    server = LocalValkey(deep)
    server.start()
    left = (deep / "socket").readlink()
    server.kill()
    again = LocalValkey(deep)
    again.start()
    again.stop()
    assert not left.exists()


def test_a_folder_with_odd_characters_works(folder: Path) -> None:
    odd = folder / "a b?c#%41ü"
    postgres, valkey = LocalPostgres(odd / "postgres", durable=False), LocalValkey(odd / "valkey")
    try:
        postgres.start()
        valkey.start()
        assert _note(postgres.url) == 1
    finally:
        postgres.stop()
        valkey.stop()


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
    assert len(_sockets_under(folder)) == 1
    again = LocalValkey(folder / "valkey")
    again.start()
    try:
        assert _ping(again.url) == b"+PONG\r\n"
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
    assert _wait_until_gone(children) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_root_below_a_closed_folder_postgres_works_and_the_folder_keeps_its_mode(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    server = LocalPostgres(closed / "postgres", durable=False)
    server.start()
    try:
        with psycopg.connect(server.url) as connection:
            connection.execute("CREATE EXTENSION vector")
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    finally:
        server.stop()
    assert closed.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_without_setpriv_the_message_names_the_closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.local.account.shutil.which", lambda _: None)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(LocalError, match=f"may not enter {closed}: install setpriv"):
        LocalPostgres(closed / "postgres").start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_a_folder_of_an_ordinary_user_is_served_as_that_user(folder: Path) -> None:
    owned = folder / "owned"
    owned.mkdir()
    os.chown(owned, 12345, 23456)
    account = unprivileged_account(owned, [])
    assert account is not None
    assert (account.uid, account.gid, account.closed) == (12345, 23456, None)


def test_closed_folder_names_the_first_one_that_may_not_be_entered(folder: Path) -> None:
    inner = folder / "closed" / "inner"
    inner.mkdir(parents=True)
    assert closed_folder(inner, 12345, 12345) is None
    (folder / "closed").chmod(0o700)
    assert closed_folder(inner, 12345, 12345) == folder / "closed"


def test_a_processor_without_avx2_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    cpuinfo = folder / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu sse2 fma bmi2\n")
    assert missing_processor_flags(cpuinfo) == ["avx2"]


def test_a_missing_wheel_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalError, match="REKOLLECT_DATABASE_URL"):
        postgres_programs()


def test_release_leaves_a_folder_without_a_lock_file_alone(folder: Path) -> None:
    release(folder)
    assert list(folder.iterdir()) == []
