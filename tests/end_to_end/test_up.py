"""`rekollect up` as a person runs it: one command, a ready line, Ctrl-C, and nothing left behind."""

import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.end_to_end.up_process import READY_SECONDS, Up, free_port, status_of
from tests.local_servers import open_folder, sockets_under, wait_until_gone
from tests.patience import wait_until

__all__ = ["open_folder"]  # a fixture

_PROMISED_READY_SECONDS = 20.0
_PROMISED_STOP_SECONDS = 12.0
_NAMES = {"postgres", "valkey", "api", "worker", "courier", "beat"}


Starter = Callable[..., Up]


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start `rekollect up`; whatever a failed test leaves is ended."""
    with ExitStack() as ends:

        def starter(folder: Path, *options: str, port: int = 0, environment: dict[str, str] | None = None) -> Up:
            up = Up(folder, port or free_port(), *options, environment=environment)
            ends.callback(lambda: up.process.poll() is None and up.end())
            return up

        yield starter


def test_the_first_run_is_ready_in_time_and_ctrl_c_leaves_nothing(folder: Path, start: Starter) -> None:
    up = start(folder)
    up.wait_until_it_says("\nready", _PROMISED_READY_SECONDS)
    assert status_of(up) == 200
    assert set(up.pids) == _NAMES
    assert f"http://127.0.0.1:{up.port}" in up.output
    pids = list(up.pids.values())
    started = time.monotonic()
    assert up.end(signal.SIGINT) == 0
    assert time.monotonic() - started < _PROMISED_STOP_SECONDS
    assert wait_until_gone(pids, 0.0) == []
    assert sockets_under(folder) == []


def test_the_second_run_keeps_the_data_and_prints_no_key(folder: Path, start: Starter) -> None:
    first = start(folder).wait_until_ready()
    assert first.output.count("aws_secret_access_key") == 1
    credentials = folder / ".rekollect" / "credentials"
    kept = credentials.read_text()
    for line in kept.splitlines()[1:]:
        assert line.split(" = ")[1] in first.output
    assert credentials.stat().st_mode & 0o777 == 0o600
    assert (folder / ".rekollect" / "secret_key").stat().st_mode & 0o777 == 0o600
    assert first.end(signal.SIGTERM) == 0

    second = start(folder).wait_until_ready()
    assert "access_key" not in second.output
    assert credentials.read_text() == kept
    assert second.end() == 0


def test_a_first_key_from_the_environment_is_kept_but_not_printed(folder: Path, start: Starter) -> None:
    chosen = {
        "REKOLLECT_BOOTSTRAP_ACCESS_KEY_ID": "AKIDCHOSENBYTHETEST1",
        "REKOLLECT_BOOTSTRAP_SECRET_ACCESS_KEY": "chosen-by-the-test-0123456789",
    }
    up = start(folder, environment=chosen).wait_until_ready()
    assert "chosen-by-the-test" not in up.output
    assert "aws_secret_access_key = chosen-by-the-test-0123456789" in (folder / ".rekollect/credentials").read_text()


def test_two_run_side_by_side_and_one_folder_takes_only_one(folder: Path, start: Starter) -> None:
    one = start(folder, "--data-dir", "one").wait_until_ready()
    two = start(folder, "--data-dir", "two", "--workers", "2").wait_until_ready()
    assert status_of(one) == status_of(two) == 200
    assert {"worker-1", "worker-2"} < set(two.pids)

    third = start(folder, "--data-dir", "one")
    assert third.wait() == 1
    assert f"another `rekollect up` (pid {one.process.pid}) uses {folder / 'one'}" in third.output
    assert two.end() == 0
    assert status_of(one) == 200, "the refused and the ended one must leave the other alone"


def test_a_port_in_use_is_named_before_anything_is_started(folder: Path, start: Starter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        up = start(folder, port=port)
        assert up.wait() == 1
    assert f"port {port}" in up.output
    assert up.pids == {}


def test_a_wrong_setting_is_named_before_anything_is_started(folder: Path, start: Starter) -> None:
    up = start(folder, environment={"REKOLLECT_MAX_WAITERS": "many"})
    assert up.wait() == 1
    assert "REKOLLECT_MAX_WAITERS" in up.output
    assert not (folder / ".rekollect").exists()


def test_processes_that_die_are_started_again(folder: Path, start: Starter) -> None:
    up = start(folder).wait_until_ready()
    before = up.pids
    killed = ("worker", "valkey", "postgres")
    for name in killed:
        os.kill(before[name], signal.SIGKILL)
    wait_until(lambda: all(up.pids[name] != before[name] for name in killed), READY_SECONDS, what=lambda: up.output)
    assert "SIGKILL" in up.output
    wait_until(lambda: status_of(up) == 200, READY_SECONDS, what=lambda: up.output, pause=0.1)
    assert up.end() == 0
    assert wait_until_gone(list(up.pids.values()), 0.0) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_kill_9_of_the_supervisor_leaves_no_process_and_the_next_start_works(folder: Path, start: Starter) -> None:
    up = start(folder).wait_until_ready()
    pids = list(up.pids.values())
    assert up.end(signal.SIGKILL) == -signal.SIGKILL
    assert wait_until_gone(pids, 10.0) == []
    again = start(folder).wait_until_ready()
    assert "access_key" not in again.output
    assert again.end() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
def test_as_root_in_a_closed_home_it_works_and_leaves_the_home_closed(folder: Path, start: Starter) -> None:
    home = folder / "home"
    home.mkdir(mode=0o700)
    up = start(home).wait_until_ready()
    assert up.end() == 0
    assert home.stat().st_mode & 0o777 == 0o700
