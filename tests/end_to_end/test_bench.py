"""`rekollect bench search`: it prints its table, refuses what makes no sense, and leaves nothing however it ends."""

import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.patience import wait_until

COMMAND = [sys.executable, "-m", "app.cli.main", "bench", "search"]


def left() -> set[Path]:
    """List what a run keeps while it lasts."""
    return set(Path(tempfile.gettempdir()).glob("rekollect-bench-*"))


def test_every_way_is_in_the_table_and_the_exact_ones_find_all() -> None:
    before = left()
    options = ["--faces", "600", "--dimensions", "64", "--threshold", "95", "--queries", "6"]
    ran = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    head, titles, *rows = ran.stdout.splitlines()
    assert head.startswith("600 faces x 64, similarity 95, ")
    assert re.split(r"\s{2,}", titles.strip()) == ["CPU ms", "x Flat", "wall p50", "recall", "bytes/face"]
    recalls = {row.rsplit(maxsplit=5)[0].strip(): float(row.split()[-2]) for row in rows}
    assert {name for name in recalls if "exact" in name} >= {"exact SQL"}
    assert all(recall == 1.0 for name, recall in recalls.items() if "exact" in name)
    assert 0.5 < recalls["pgvector HNSW (approximate)"] <= 1.0
    assert "building the graph of pgvector" in ran.stderr
    assert left() == before


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_ended_leaves_nothing(end: signal.Signals) -> None:
    before = left()
    with subprocess.Popen([*COMMAND, "--faces", "60000"], stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        while "building the graph of pgvector" not in running.stderr.readline():
            assert running.poll() is None
        time.sleep(0.5)  # the build itself is under way
        running.send_signal(end)
        assert running.wait(30) == 130
        assert "stopped" in running.stderr.read()
    wait_until(lambda: left() == before)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--faces", "7"], "must be 100 to"),
        (["--faces", "many"], "invalid"),
        (["--dimensions", "4000"], "must be 8 to 2000"),
        (["--threshold", "101"], "must be 0 to 100"),
        (["--queries", "0"], "must be 5 to"),
    ],
)
def test_what_makes_no_sense_is_refused(options: list[str], complaint: str) -> None:
    ran = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert complaint in ran.stderr


def test_more_than_the_memory_holds_is_refused() -> None:
    options = ["--faces", "20000000", "--dimensions", "2000"]
    ran = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 1
    assert "GiB of memory" in ran.stderr
