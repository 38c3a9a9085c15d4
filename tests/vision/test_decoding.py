"""What is decoded of a large picture: each size at most once, and no more of it than the smallest of its faces needs."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from tests.vision.pictures import decoded, jpeg, png, rolled
from workers.vision import decode
from workers.vision import engine as engine_module
from workers.vision.arrays import Floats, Pixels
from workers.vision.engine import ENOUGH_PIXELS, FaceEngine

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


@pytest.fixture
def decoded_sides(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The long side of each picture that is decoded."""
    sides: list[int] = []
    imdecode = decode._imdecode

    def noting(image: bytes, flags: int) -> Pixels:
        pixels = imdecode(image, flags)
        sides.append(max(pixels.shape))
        return pixels

    monkeypatch.setattr(decode, "_imdecode", noting)
    return sides


@pytest.mark.parametrize("encode", [jpeg, png])
def test_a_picture_is_decoded_in_full_once_whatever_its_faces_need(
    engine: FaceEngine, sheet: Pixels, encode: Callable[[Pixels], bytes], decoded_sides: list[int]
) -> None:
    assert len(engine.analyze(encode(sheet))) == 4
    assert decoded_sides.count(SIDE) == 1
    assert len(decoded_sides) == len(set(decoded_sides))


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


def test_a_face_that_half_the_pixels_show_large_enough_is_cut_from_these(
    engine: FaceEngine, portraits: dict[str, bytes], decoded_sides: list[int]
) -> None:
    pixels = np.full((SIDE, SIDE, 3), 90, np.uint8)
    pixels[500:1500, 800:1600] = cv2.resize(decoded(portraits["obama"]), (800, 1000))
    (face,) = engine.analyze(jpeg(pixels, cv2.IMWRITE_JPEG_QUALITY, 98))
    assert decoded_sides == [SIDE // 4, SIDE // 2]
    assert face.measures.width_pixels / 2 > ENOUGH_PIXELS > face.measures.width_pixels / 4
    (alone,) = engine.analyze(portraits["obama"])
    assert float(np.frombuffer(face.embedding, "<f4") @ np.frombuffer(alone.embedding, "<f4")) > 0.93
