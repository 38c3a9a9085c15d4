"""The sockets of the local servers: where the path is too long or has odd characters, and what a kill leaves."""

from pathlib import Path

from app.local.postgres import LocalPostgres
from app.local.valkey import LocalValkey
from tests.local_servers import note, open_folder, ping

__all__ = ["open_folder"]  # a fixture


def test_a_folder_too_deep_for_a_socket_still_works_and_leaves_nothing(folder: Path) -> None:
    deep = folder / ("d" * 60) / ("e" * 60)
    for server in (LocalPostgres(deep / "postgres", durable=False), LocalValkey(deep / "valkey")):
        server.start()
        outside = (deep / ("postgres" if isinstance(server, LocalPostgres) else "valkey") / "socket").readlink()
        assert outside.stat().st_mode & 0o077 == 0
        if isinstance(server, LocalPostgres):
            assert note(server.url) == 1
        else:
            assert ping(server.url) == b"+PONG\r\n"
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
        assert note(postgres.url) == 1
    finally:
        postgres.stop()
        valkey.stop()
