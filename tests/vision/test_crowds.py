"""Pictures full of rolled faces: what they may cost is bounded, and no face is given twice."""

import cv2
import numpy as np
import pytest

from app.domain.face_models import NEWEST
from app.domain.faces import iou
from tests.vision.looks import Looks
from tests.vision.pictures import decoded, png
from workers.vision.arrays import Pixels
from workers.vision.detector import OVERLAP_THRESHOLD
from workers.vision.engine import FaceEngine
from workers.vision.roll import MOST_LOOKS

pytestmark = pytest.mark.models

PATCH = 192


@pytest.fixture(scope="module")
def heads(engine: FaceEngine, portraits: dict[str, bytes]) -> list[Pixels]:
    """The sample portraits, cut to squares around the middles of their faces."""
    return [square(decoded(image), engine, heights=1.25) for image in portraits.values()]


@pytest.fixture(scope="module")
def close_heads(engine: FaceEngine, portraits: dict[str, bytes]) -> list[Pixels]:
    """The same, cut so closely that a look at one shows its neighbours too."""
    return [square(decoded(image), engine, heights=0.9) for image in portraits.values()]


def square(pixels: Pixels, engine: FaceEngine, *, heights: float, side: int = 400) -> Pixels:
    (face,) = engine.analyze(png(pixels))
    height, width = pixels.shape[:2]
    reach = heights * face.box.height * height
    x, y = (face.box.left + face.box.width / 2) * width, (face.box.top + face.box.height / 2) * height
    cut = np.array([[side / reach, 0, side / 2 - x * side / reach], [0, side / reach, side / 2 - y * side / reach]])
    return np.asarray(cv2.warpAffine(pixels, cut, (side, side), flags=cv2.INTER_AREA), np.uint8)


def crowd(heads: list[Pixels], side: int, degrees: int, columns: int, rows: int) -> bytes:
    """Repeat the heads side by side, each turned clockwise about its own middle."""
    middle = heads[0].shape[0] / 2
    turn = cv2.getRotationMatrix2D((middle, middle), -degrees, 1)
    turned = [cv2.warpAffine(head, turn, head.shape[:2], borderValue=(90, 90, 90)) for head in heads]
    small = [cv2.resize(head, (side, side), interpolation=cv2.INTER_AREA) for head in turned]
    lines = [np.hstack([small[(row + column) % len(small)] for column in range(columns)]) for row in range(rows)]
    return png(np.asarray(np.vstack(lines), np.uint8))


@pytest.mark.parametrize("degrees", [45, 150, 180])
def test_a_crowd_of_rolled_faces_costs_no_more_looks_than_one_picture_may(
    engine: FaceEngine, heads: list[Pixels], degrees: int
) -> None:
    looks = Looks(engine)
    faces = FaceEngine(looks, engine._embedder, NEWEST).analyze(crowd(heads, 64, degrees, 10, 8))
    assert 300 < looks.long_sides.count(PATCH) <= MOST_LOOKS
    assert len(faces) > 0.5 * 80


def test_no_face_of_a_crowd_is_given_twice(engine: FaceEngine, close_heads: list[Pixels]) -> None:
    faces = engine.analyze(crowd(close_heads, 100, 90, 5, 4))
    pairs = [(one, other) for index, one in enumerate(faces) for other in faces[:index]]
    assert len(faces) == 20
    assert max(iou(one.box, other.box) for one, other in pairs) <= OVERLAP_THRESHOLD
