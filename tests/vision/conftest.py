"""The engine that workers use, with the real models, and pictures made of a portrait."""

import cv2
import numpy as np
import pytest

from app.config import Settings
from app.domain.face_models import NEWEST
from workers.vision.arrays import Pixels
from workers.vision.engine import FaceEngine


@pytest.fixture(scope="session")
def engine(settings: Settings) -> FaceEngine:
    return FaceEngine.load(settings, NEWEST)


@pytest.fixture(scope="session")
def upright(portraits: dict[str, bytes]) -> Pixels:
    """A portrait of 455 x 568 pixels."""
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)
