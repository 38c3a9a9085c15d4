"""Failpoints: each named point is in the code once, an armed one kills as often as asked, and nothing is armed by half."""

import ast
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from app.config import Settings, SettingsError
from app.failpoints import POINTS, failpoint

ROOT = Path(__file__).parent.parent.parent


def _reached(path: Path) -> list[str]:
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [
        call.args[0].value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "failpoint" and isinstance(call.args[0], ast.Constant)
    ]


def test_every_point_is_in_the_code_once() -> None:
    found = Counter(
        name for package in ("app", "workers") for path in (ROOT / package).rglob("*.py") for name in _reached(path)
    )
    assert found == dict.fromkeys(POINTS, 1)


def test_nothing_happens_at_a_point_that_no_setting_names() -> None:
    for name in POINTS:
        failpoint(name)


def test_an_armed_point_kills_as_many_processes_as_was_asked_for(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from app.failpoints import arm, failpoint;"
        f"arm((('in_sweep', 2),), Path({str(tmp_path)!r})); failpoint('after_claim'); failpoint('in_sweep')"
    )
    codes = [subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode for _ in range(3)]
    assert codes == [-signal.SIGKILL, -signal.SIGKILL, 0]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in_sweep.1", "in_sweep.2"]


def test_points_without_a_folder_for_deaths_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"^not set: REKOLLECT_FAILPOINTS_DIR$"):
        Settings.from_environment({"REKOLLECT_FAILPOINTS": "after_claim"}).arm_failpoints()
