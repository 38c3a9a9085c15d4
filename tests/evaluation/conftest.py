"""The engine that is measured."""

import pytest

from app.config import Settings
from app.domain.face_models import NEWEST
from workers.vision.engine import FaceEngine


@pytest.fixture(scope="session")
def engine(settings: Settings) -> FaceEngine:
    return FaceEngine.load(settings, NEWEST)
