"""Rolled faces: known whichever way they are turned, reported as they are, while upright ones are embedded as ever."""

import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain.face_models import NEWEST, FaceModelVersion
from app.domain.faces import DetectedFace
from tests.vision.looks import Looks
from tests.vision.pictures import decoded, jpeg, png, rolled
from workers.vision.alignment import align
from workers.vision.arrays import Floats, Pixels
from workers.vision.decode import open_picture
from workers.vision.detector import Detections
from workers.vision.embedder import Embedder
from workers.vision.engine import FaceEngine
from workers.vision.roll import LEVEL_DEGREES, rolls
from workers.vision.search import LONG_SIDE, SHORTEST_LONG_SIDE

ALL_AROUND = range(0, 360, 30)


def cosine(one: DetectedFace, other: DetectedFace) -> float:
    return float(np.frombuffer(one.embedding, "<f4") @ np.frombuffer(other.embedding, "<f4"))


def apart(one: float, other: float) -> float:
    return abs((one - other + 180) % 360 - 180)


def one_face(width: float, height: float) -> Detections:
    points = np.array([[[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]]], np.float32)
    return Detections(np.array([[5, 5, width, height]], np.float32), points, np.array([0.9], np.float32))


def test_a_quarter_turn_swaps_the_sides_of_a_box_and_turns_the_eyes() -> None:
    turned = one_face(30, 40).placed(np.array([[0.0, -1.0, 100.0], [1.0, 0.0, 0.0]]))
    assert turned.boxes[0] == pytest.approx([55, 5, 40, 30])
    assert turned.points[0, 0] == pytest.approx([80, 10])
    assert rolls(turned)[0] == pytest.approx(90)


def test_a_turned_and_scaled_box_is_that_of_the_ellipse_in_it() -> None:
    matrix = cv2.getRotationMatrix2D((20.0, 25.0), 45.0, 2.0)
    turned = one_face(30, 40).placed(matrix)
    assert turned.boxes[0, 2:] == pytest.approx([2 * np.hypot(30, 40) / np.sqrt(2)] * 2)
    assert turned.boxes[0, :2] + turned.boxes[0, 2:] / 2 == pytest.approx([20, 25])


@pytest.mark.models
@pytest.mark.parametrize("degrees", ALL_AROUND)
def test_a_face_is_known_and_described_whichever_way_it_is_turned(
    engine: FaceEngine, upright: Pixels, degrees: int
) -> None:
    (expected,) = engine.analyze(png(upright))
    picture = rolled(upright, degrees)
    (face,) = engine.analyze(jpeg(picture))
    assert cosine(face, expected) > 0.85
    assert apart(face.pose.roll, expected.pose.roll + degrees) < 15
    assert_true_of_the_picture(face, expected, upright, picture, degrees)


def assert_true_of_the_picture(
    face: DetectedFace, expected: DetectedFace, upright: Pixels, picture: Pixels, degrees: int
) -> None:
    """Eyes and mouth are where the turn brought them, and the middle of the box is."""
    height, width = upright.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    turn[:, 2] += picture.shape[0] / 2 - np.array([width / 2, height / 2])
    marks = np.array(dataclasses.astuple(expected.landmarks)) * [width, height]
    seen = np.array(dataclasses.astuple(face.landmarks)) * picture.shape[0]
    size = expected.box.width * width
    assert np.abs(marks @ turn[:, :2].T + turn[:, 2] - seen).max() < 0.15 * size
    assert np.abs(seen.mean(axis=0) - (centre(face) * picture.shape[0])).max() < 0.25 * size


def centre(face: DetectedFace) -> Floats:
    return np.array([face.box.left + face.box.width / 2, face.box.top + face.box.height / 2])


@pytest.mark.models
def test_who_lies_or_stands_on_his_head_is_found_beside_others(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    pixels = [cv2.resize(decoded(portraits[name]), (560, 700)) for name in ("obama2", "obama3", "obama")]
    alone = [engine.analyze(png(one))[0] for one in pixels]
    sheet = np.full((700, 1870, 3), 90, np.uint8)
    sheet[:, :560] = pixels[0]
    sheet[:560, 560:1260] = cv2.rotate(pixels[1], cv2.ROTATE_90_CLOCKWISE)
    sheet[:, 1280:1840] = cv2.rotate(pixels[2], cv2.ROTATE_180)
    found = sorted(engine.analyze(jpeg(sheet)), key=lambda face: face.box.left)
    assert [min(range(0, 360, 90), key=lambda turn: apart(face.pose.roll, turn)) for face in found] == [0, 90, 180]
    assert all(cosine(face, expected) > 0.85 for face, expected in zip(found, alone, strict=True))


@pytest.mark.models
@pytest.mark.faces
@pytest.mark.parametrize("degrees", [45, 135, 225, 315])
def test_a_face_alone_in_its_picture_is_found_at_any_slant(engine: FaceEngine, faces_dir: Path, degrees: int) -> None:
    """One in fourteen is seen in no quarter turn, and leaves no trace in the picture as it is."""
    paths = sorted((faces_dir / "gallery_gray").glob("*.jpg"))[::9]
    counts = {path.name: len(engine.analyze(jpeg(rolled(decoded(path.read_bytes()), degrees)))) for path in paths}
    assert set(counts.values()) == {1}, counts


@pytest.mark.models
def test_without_a_scale_of_norms_the_eye_line_alone_tells(engine: FaceEngine, upright: Pixels) -> None:
    """It tells of leaning faces, but not of all that stand on their head."""
    plain = with_version(engine, dataclasses.replace(NEWEST, upright_norm=None))
    (expected,) = engine.analyze(png(upright))
    assert cosine(plain.analyze(png(rolled(upright, 30)))[0], expected) > 0.85
    overturned = [face for degrees in (120, 150, 210, 240) for face in plain.analyze(png(rolled(upright, degrees)))]
    assert min(cosine(face, expected) for face in overturned) < 0.4


@pytest.fixture
def blurred(engine: FaceEngine, portraits: dict[str, bytes]) -> list[Pixels]:
    """Upright faces of 100 pixels whose embeddings are as short as those of turned ones."""
    pixels = [decoded(portraits[name]) for name in ("obama", "obama3")]
    factors = [100 / engine.analyze(png(one))[0].measures.width_pixels for one in pixels]
    small = [
        cv2.resize(one, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
        for one, by in zip(pixels, factors, strict=True)
    ]
    return [np.asarray(cv2.GaussianBlur(one, (0, 0), 5), np.uint8) for one in small]


@pytest.mark.models
def test_a_doubtful_face_that_stands_costs_three_looks_and_one_on_its_head_is_turned_all_around(
    engine: FaceEngine, blurred: list[Pixels]
) -> None:
    looks = Looks(engine)
    counting = FaceEngine(looks, engine._embedder, NEWEST)
    for pixels in blurred:
        (standing,) = counting.analyze(png(rolled(pixels, 0)))
        assert standing.measures.embedding_norm < (NEWEST.upright_norm or 0)
        assert looks.long_sides[1:] == [192, 192, 192]
        looks.long_sides.clear()
        (overturned,) = counting.analyze(png(rolled(pixels, 180)))
        assert apart(overturned.pose.roll, standing.pose.roll + 180) < 15
        assert cosine(standing, overturned) > 0.85
        assert looks.long_sides.count(192) > 10
        looks.long_sides.clear()


@pytest.mark.models
def test_what_may_be_turned_of_a_picture_is_embedded_together(
    engine: FaceEngine, blurred: list[Pixels], monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded: list[int] = []
    embed = Embedder.embed

    def counting(embedder: Embedder, crops: Pixels) -> tuple[Floats, Floats]:
        embedded.append(len(crops))
        return embed(embedder, crops)

    monkeypatch.setattr(Embedder, "embed", counting)
    height = min(map(len, blurred))
    assert len(engine.analyze(png(np.hstack([one[:height] for one in blurred])))) == 2
    assert embedded == [2, 2]


def with_version(engine: FaceEngine, version: FaceModelVersion) -> FaceEngine:
    return FaceEngine(engine._detector, engine._embedder, version)


def assert_embedded_as_found(engine: FaceEngine, image: bytes) -> bool:
    """Put the parts together as they were before faces were looked at again; False for a face that is not upright."""
    picture = open_picture(image)
    pixels = picture.decode(picture.reduction(LONG_SIDE))
    found = engine._detector.detect(pixels, long_side=min(max(*pixels.shape[:2], SHORTEST_LONG_SIDE), LONG_SIDE))
    assert len(found) == 1
    if abs(rolls(found)[0]) > LEVEL_DEGREES:
        return False
    if found.boxes[0, 2] < 100:
        full = picture.decode()
        pixels, found = full, found.scaled(full.shape[1] / pixels.shape[1], full.shape[0] / pixels.shape[0])
    embeddings, norms = engine._embedder.embed(align(pixels, found.points))
    if norms[0] < (NEWEST.upright_norm or 0):
        return False
    (face,) = engine.analyze(image)
    assert float(np.frombuffer(face.embedding, "<f4") @ embeddings[0]) > 0.9999
    return True


@pytest.mark.models
def test_upright_faces_are_embedded_as_they_are_found(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    assert sum(assert_embedded_as_found(engine, image) for image in portraits.values()) >= 4


@pytest.mark.models
@pytest.mark.faces
def test_nine_of_ten_portraits_are_embedded_as_they_are_found(engine: FaceEngine, faces_dir: Path) -> None:
    images = [path.read_bytes() for path in sorted((faces_dir / "portraits").glob("*.jpg"))[::3]]
    assert sum(assert_embedded_as_found(engine, image) for image in images) > 0.9 * len(images)
