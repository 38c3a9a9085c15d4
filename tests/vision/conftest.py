"""The real models and portraits, pulled if they are not in the cache: nothing here is skipped because a part is missing.

Only the large picture collection is optional: tests that need it say why they are skipped.
"""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.assets import pull_models, pull_samples
from app.config import Settings
from app.domain.face_models import NEWEST
from workers.vision.arrays import Pixels
from workers.vision.engine import FaceEngine


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The machine's own settings for models and cache, with the models in place."""
    settings = Settings.from_environment()
    pull_models(settings, print)
    return settings


@pytest.fixture(scope="session")
def engine(settings: Settings) -> FaceEngine:
    return FaceEngine.load(settings, NEWEST)


@pytest.fixture(scope="session")
def portraits(settings: Settings) -> dict[str, bytes]:
    """The sample portraits by name without suffix; `obama`, `obama2` and `obama3` show one person."""
    return {path.stem: path.read_bytes() for path in pull_samples(settings, print)}


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of test pictures with its manifest.csv."""
    folder = os.environ.get("REKOLLECT_TEST_FACES")
    if not folder:
        pytest.skip("REKOLLECT_TEST_FACES is not set: it names the folder with the test pictures")
    return Path(folder)


@pytest.fixture(scope="session")
def upright(portraits: dict[str, bytes]) -> Pixels:
    """A portrait of 455 x 568 pixels."""
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
