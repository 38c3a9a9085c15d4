"""The bars of the quality filter earn their keep: what they reject is what would not have been matched.

Portraits are degraded step by step and compared with themselves. A face that is not found any more counts as rejected.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain.face_models import NEWEST
from app.domain.faces import quality_reasons
from tests.vision.pictures import decoded, jpeg
from workers.vision.arrays import Pixels
from workers.vision.engine import FaceEngine

pytestmark = [pytest.mark.models, pytest.mark.faces]

FACE_WIDTH = 100  # pixels before the degradation
MATCH = NEWEST.curve.cosine(80)
REJECTED = ("NOT_FOUND",)

Degradation = Callable[[Pixels], Pixels]


def noisy(deviation: float, pixels: Pixels) -> Pixels:
    noise = np.random.default_rng(5).normal(0, deviation, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def blurred(sigma: float, pixels: Pixels) -> Pixels:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def exposed(factor: float, pixels: Pixels) -> Pixels:
    """Also in the dark a sensor makes some noise."""
    return noisy(2, np.clip(pixels.astype(np.float32) * factor, 0, 255).astype(np.uint8))


def shrunk(face_width: float, pixels: Pixels) -> Pixels:
    factor = face_width / FACE_WIDTH
    small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    missing = [max(0, 80 - side) for side in small.shape[:2]]
    return np.asarray(cv2.copyMakeBorder(small, 0, missing[0], 0, missing[1], cv2.BORDER_CONSTANT), np.uint8)


#: Each from harmless to hopeless, with the reason that is given when it goes too far.
DEGRADATIONS: dict[str, tuple[list[Degradation], str]] = {
    "blur": ([partial(blurred, sigma) for sigma in (1, 5, 6, 7)], "LOW_SHARPNESS"),
    "darkness": ([partial(exposed, factor) for factor in (0.3, 0.1, 0.06, 0.04)], "LOW_BRIGHTNESS"),
    "overexposure": ([partial(exposed, factor) for factor in (1.5, 2.5, 3, 4)], "LOW_BRIGHTNESS"),
    "noise": ([partial(noisy, deviation) for deviation in (15, 45, 60, 80)], "LOW_FACE_QUALITY"),
    "small faces": ([partial(shrunk, width) for width in (40, 20, 12, 9)], "SMALL_BOUNDING_BOX"),
}


@dataclass(frozen=True)
class Attempt:
    """One degraded portrait: how close it came to the one it was made of, and why each level rejects it."""

    cosine: float
    reasons: dict[str, tuple[str, ...]]


@pytest.fixture(scope="module")
def people(engine: FaceEngine, faces_dir: Path) -> list[tuple[Pixels, bytes]]:
    """Every tenth portrait, scaled so that all faces are equally wide, and its embedding."""
    found = []
    for path in sorted((faces_dir / "portraits").glob("*.jpg"))[::10]:
        pixels = decoded(path.read_bytes())
        (face,) = engine.analyze(jpeg(pixels))
        factor = FACE_WIDTH / (face.box.width * pixels.shape[1])
        found.append((np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor), np.uint8), face.embedding))
    return found


def attempt(engine: FaceEngine, picture: Pixels, person: bytes) -> Attempt:
    faces = engine.analyze(jpeg(picture, cv2.IMWRITE_JPEG_QUALITY, 95))
    if not faces:
        return Attempt(-1.0, dict.fromkeys(NEWEST.quality_bars, REJECTED))
    cosine = float(np.frombuffer(faces[0].embedding, "<f4") @ np.frombuffer(person, "<f4"))
    return Attempt(cosine, {level: quality_reasons(faces[0], level, NEWEST) for level in NEWEST.quality_bars})


@pytest.mark.parametrize("degradation", DEGRADATIONS)
def test_fewer_of_the_faces_that_pass_a_bar_are_missed(
    engine: FaceEngine, people: list[tuple[Pixels, bytes]], degradation: str
) -> None:
    steps, reason = DEGRADATIONS[degradation]
    attempts = [attempt(engine, step(pixels), person) for step in steps for pixels, person in people]
    missed, passed = {"NONE": share_missed(attempts)}, {"NONE": len(attempts)}
    for level in ("LOW", "MEDIUM", "HIGH"):
        passing = [one for one in attempts if not one.reasons[level]]
        missed[level], passed[level] = share_missed(passing), len(passing)
    assert passed["NONE"] > passed["LOW"] >= passed["MEDIUM"] >= passed["HIGH"]
    assert passed["HIGH"] >= len(people) // 2  # the harmless step remains
    assert missed["NONE"] > 0.2
    assert missed["LOW"] < missed["NONE"]
    assert missed["MEDIUM"] <= 0.1 * missed["NONE"]
    assert missed["HIGH"] <= missed["MEDIUM"]
    assert reason in {found for one in attempts for found in one.reasons["MEDIUM"]}


def share_missed(attempts: list[Attempt]) -> float:
    """Give the false non-match rate at similarity 80."""
    return float(np.mean([one.cosine < MATCH for one in attempts]))


def test_good_portraits_pass(engine: FaceEngine, faces_dir: Path) -> None:
    portraits = sorted((faces_dir / "portraits").glob("*.jpg"))[::5]
    reasons = [quality_reasons(engine.analyze(path.read_bytes())[0], "AUTO", NEWEST) for path in portraits]
    assert reasons == [()] * len(portraits)
