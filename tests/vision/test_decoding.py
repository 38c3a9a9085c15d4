"""What is decoded of a large picture: each size at most once, and only small faces are cut from all its pixels."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.vision.pictures import decoded, jpeg, png, rolled
from workers.vision import decode
from workers.vision import engine as engine_module
from workers.vision.arrays import Floats, Pixels
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models

SIDE = 2600


@pytest.fixture(scope="module")
def sheet(portraits: dict[str, bytes]) -> Pixels:
    """A large face, a small one, one that leans far and one that stands on its head."""
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    large, *small = (decoded(portraits[name]) for name in ("obama", "biden", "obama2", "obama3"))
    pixels[:2000, :1600] = cv2.resize(large, (1600, 2000))
    for place, (portrait, degrees) in enumerate(zip(small, (0, 60, 180), strict=True)):
        turned = cv2.resize(rolled(portrait, degrees), (800, 800), interpolation=cv2.INTER_AREA)
        pixels[60 + 830 * place :, 1700:][:800, :800] = turned
    return pixels


@pytest.mark.parametrize("encode", [jpeg, png])
def test_a_picture_is_decoded_in_full_once_whatever_its_faces_need(
    engine: FaceEngine, sheet: Pixels, encode: Callable[[Pixels], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    sides: list[int] = []
    imdecode = decode._imdecode

    def counting(image: bytes, flags: int) -> Pixels:
        pixels = imdecode(image, flags)
        sides.append(max(pixels.shape))
        return pixels

    monkeypatch.setattr(decode, "_imdecode", counting)
    assert len(engine.analyze(encode(sheet))) == 4
    assert sides.count(SIDE) == 1
    assert len(sides) == len(set(sides))


def test_a_large_face_is_cut_from_the_reduced_picture_beside_small_ones(
    engine: FaceEngine, sheet: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    widest: dict[int, float] = {}
    align = engine_module.align

    def noting(pixels: Pixels, landmarks: Floats) -> Pixels:
        eyes = np.linalg.norm(landmarks[:, 1] - landmarks[:, 0], axis=1) / len(pixels)
        widest[len(pixels)] = max(widest.get(len(pixels), 0.0), float(eyes.max()))
        return align(pixels, landmarks)

    monkeypatch.setattr(engine_module, "align", noting)
    faces = engine.analyze(jpeg(sheet))
    large = max(face.landmarks.eye_right[0] - face.landmarks.eye_left[0] for face in faces)
    assert widest[SIDE // 2] == pytest.approx(large, rel=0.02)
    assert widest[SIDE] < 0.5 * large
