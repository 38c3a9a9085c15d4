"""The engines of a process: each version is opened once, and nobody waits for a version that he does not want."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.config import Settings
from app.domain.face_models import NEWEST, FaceModelVersion
from workers.vision.engine import FaceEngine
from workers.vision.engines import Engines

pytestmark = pytest.mark.models

SECONDS = 20


def test_a_version_is_opened_once_while_others_work_on(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engines = Engines(settings)
    slow, quick = (dataclasses.replace(NEWEST, version=name) for name in ("2.0", "3.0"))
    opened: list[str] = []
    begun, may_end = threading.Event(), threading.Event()
    with_version = FaceEngine.with_version

    def opening(first: FaceEngine, settings: Settings, version: FaceModelVersion) -> FaceEngine:
        opened.append(version.version)
        if version == slow:
            begun.set()
            assert may_end.wait(SECONDS)
        return with_version(first, settings, version)

    monkeypatch.setattr(FaceEngine, "with_version", opening)
    with ThreadPoolExecutor(4) as pool:
        try:
            waiting = [pool.submit(engines.of, slow) for _ in range(2)]
            assert begun.wait(SECONDS)
            others = [pool.submit(engines.of, version) for version in (NEWEST, quick)]
            assert [other.result(SECONDS / 2).version for other in others] == [NEWEST, quick]
        finally:
            may_end.set()
        assert waiting[0].result(SECONDS) is waiting[1].result(SECONDS)
    assert sorted(opened) == ["2.0", "3.0"]
