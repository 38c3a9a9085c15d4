"""Whatever bytes come as a picture, they are refused or decoded as large as they say, and the process lives.

`make test` fuzzes for a few seconds, `make fuzz-images` for REKOLLECT_FUZZ_SECONDS; REKOLLECT_FUZZ_SEED repeats a run.
"""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = float(os.environ.get("REKOLLECT_FUZZ_SECONDS", "5"))
SEED = int(os.environ.get("REKOLLECT_FUZZ_SEED", random.SystemRandom().randrange(2**32)))


def test_no_bytes_break_the_decoder(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    _say(request.config, f"{SECONDS:g} s, REKOLLECT_FUZZ_SEED={SEED}")
    last = tmp_path / "last"
    command = [sys.executable, "-m", "tests.vision.fuzzing", str(SECONDS), str(SEED), str(last)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, f"it ended with {ended.returncode} at {last.read_bytes().hex()}\n{ended.stderr}"
    _say(request.config, ended.stdout.strip())


def _say(config: pytest.Config, line: str) -> None:
    plugins = config.pluginmanager
    with plugins.get_plugin("capturemanager").global_and_fixture_disabled():
        plugins.get_plugin("terminalreporter").write_line(f"\nfuzz of pictures: {line}")
