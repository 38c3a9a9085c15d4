"""The engines of a process: one per face model version, opened when it is first needed, all with one detector.

Opening may take seconds, and preparing more: who waits for one version never keeps others from those that are open.
"""

import threading
from collections import defaultdict

from app.config import Settings
from app.domain.face_models import NEWEST, FaceModelVersion
from workers.vision.engine import FaceEngine


class Engines:
    """Opens each version once; threads may share one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._opening: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._first = FaceEngine.load(settings, NEWEST)
        self._open = {NEWEST.version: self._first}

    def of(self, version: FaceModelVersion) -> FaceEngine:
        """Give the engine of a version; raise AssetError or ModelError where its files are not on this machine."""
        if (engine := self._open.get(version.version)) is not None:
            return engine
        with self._lock:
            opening = self._opening[version.version]
        with opening:
            if version.version not in self._open:
                self._open[version.version] = self._first.with_version(self._settings, version)
            return self._open[version.version]
