"""What the local servers say about a machine that cannot run them."""

from pathlib import Path

import pytest

from app.local.binaries import missing_processor_flags, postgres_programs
from app.local.errors import LocalError


def test_a_processor_without_avx2_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor : 0\nflags\t\t: fpu sse2 fma bmi2\n")
    assert missing_processor_flags(cpuinfo) == ["avx2"]


def test_a_missing_wheel_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(LocalError, match="REKOLLECT_DATABASE_URL"):
        postgres_programs()
