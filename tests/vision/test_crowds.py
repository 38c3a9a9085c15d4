"""Pictures full of rolled faces: what they may cost is bounded, and no face is given twice."""

import cv2
import numpy as np
import pytest

from app.domain.face_models import NEWEST
from tests.vision.looks import Looks
from tests.vision.pictures import decoded, png
from workers.vision.arrays import Pixels
from workers.vision.engine import FaceEngine
from workers.vision.roll import MOST_LOOKS

pytestmark = pytest.mark.models

PATCH = 192
COLUMNS, ROWS = 10, 8


@pytest.fixture(scope="module")
def heads(engine: FaceEngine, portraits: dict[str, bytes]) -> list[Pixels]:
    """The sample portraits, cut to squares around the middles of their faces."""
    return [square(decoded(image), engine) for image in portraits.values()]


def square(pixels: Pixels, engine: FaceEngine, side: int = 400) -> Pixels:
    (face,) = engine.analyze(png(pixels))
    height, width = pixels.shape[:2]
    reach = 1.25 * face.box.height * height
    x, y = (face.box.left + face.box.width / 2) * width, (face.box.top + face.box.height / 2) * height
    cut = np.array([[side / reach, 0, side / 2 - x * side / reach], [0, side / reach, side / 2 - y * side / reach]])
    return np.asarray(cv2.warpAffine(pixels, cut, (side, side), flags=cv2.INTER_AREA), np.uint8)


def crowd(heads: list[Pixels], side: int, degrees: int) -> bytes:
    """Repeat the heads side by side, each turned clockwise about its own middle."""
    middle = heads[0].shape[0] / 2
    turn = cv2.getRotationMatrix2D((middle, middle), -degrees, 1)
    turned = [cv2.warpAffine(head, turn, head.shape[:2], borderValue=(90, 90, 90)) for head in heads]
    small = [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for head in turned]
    rows = [np.hstack([small[(row + column) % len(small)] for column in range(COLUMNS)]) for row in range(ROWS)]
    return png(np.asarray(np.vstack(rows), np.uint8))


@pytest.mark.parametrize("degrees", [45, 150, 180])
def test_a_crowd_of_rolled_faces_costs_no_more_looks_than_one_picture_may(
    engine: FaceEngine, heads: list[Pixels], degrees: int
) -> None:
    looks = Looks(engine)
    faces = FaceEngine(looks, engine._embedder, NEWEST).analyze(crowd(heads, 64, degrees))
    assert 300 < looks.long_sides.count(PATCH) <= MOST_LOOKS
    assert len(faces) > 0.5 * COLUMNS * ROWS
