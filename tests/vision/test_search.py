"""How closely a picture is looked at: small faces are found, large ones as before, and most pictures are seen once."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from app.domain.faces import DetectedFace
from tests.vision.looks import Looks
from tests.vision.pictures import decoded, jpeg, scattered
from workers.vision.arrays import Pixels
from workers.vision.decode import open_picture
from workers.vision.engine import FaceEngine
from workers.vision.search import find

pytestmark = pytest.mark.models

FULL_HD = (1920, 1080)


@pytest.fixture
def looks(engine: FaceEngine) -> Looks:
    return Looks(engine)


def with_faces(engine: FaceEngine, images: list[bytes]) -> list[tuple[Pixels, DetectedFace]]:
    return [(decoded(image), engine.analyze(image)[0]) for image in images]


def best_cosine(faces: list[DetectedFace], person: DetectedFace) -> float:
    wanted = np.frombuffer(person.embedding, "<f4")
    return max(float(np.frombuffer(face.embedding, "<f4") @ wanted) for face in faces)


def test_forty_pixels_of_full_hd_are_found_beside_a_large_face(engine: FaceEngine, portraits: dict[str, bytes]) -> None:
    ((small, face),) = with_faces(engine, [portraits["biden"]])
    large = cv2.resize(decoded(portraits["obama"]), (800, 1000))
    sheet = scattered([(small, face)], FULL_HD, face_width=40)
    sheet[-large.shape[0] :, -large.shape[1] :] = large
    found = engine.analyze(jpeg(sheet))
    assert len(found) == 2
    assert found[1].measures.width_pixels == pytest.approx(40, rel=0.2)
    assert best_cosine(found[1:], face) > 0.418


@pytest.mark.faces
def test_forty_pixels_of_full_hd_are_found_and_known(engine: FaceEngine, faces_dir: Path) -> None:
    people = with_faces(engine, [path.read_bytes() for path in sorted((faces_dir / "portraits").glob("*.jpg"))[:120]])
    found = known = 0
    for start in range(0, len(people), 20):
        faces = engine.analyze(jpeg(scattered(people[start : start + 20], FULL_HD, face_width=40)))
        found += len(faces)
        known += sum(best_cosine(faces, face) > 0.418 for _, face in people[start : start + 20])
    assert found == 120
    assert known >= 0.98 * 120


def test_a_portrait_is_looked_at_once(looks: Looks, portraits: dict[str, bytes]) -> None:
    for name, image in portraits.items():
        large = jpeg(cv2.resize(decoded(image), None, fx=2, fy=2))
        for picture in (image, large):
            looks.long_sides.clear()
            assert len(find(looks, open_picture(picture)).found) == 1
            assert looks.long_sides == [640], name


def test_nothing_or_something_small_is_looked_at_closer_where_there_are_more_pixels(
    looks: Looks, portraits: dict[str, bytes]
) -> None:
    nothing = np.full((1080, 1920, 3), 90, np.uint8)
    for size, sides in ((1920, [640, 1024]), (900, [640, 900]), (700, [640]), (500, [500]), (200, [320])):
        looks.long_sides.clear()
        find(looks, open_picture(jpeg(cv2.resize(nothing, (size, size * 9 // 16)))))
        assert looks.long_sides == sides


def test_what_was_large_stays_as_it_was(engine: FaceEngine, looks: Looks, portraits: dict[str, bytes]) -> None:
    ((small, face),) = with_faces(engine, [portraits["biden"]])
    sheet = scattered([(small, face)], FULL_HD, face_width=40)
    sheet[300:1080, 900:1700] = cv2.resize(decoded(portraits["obama"]), (800, 780))
    picture = open_picture(jpeg(sheet))
    seen = find(looks, picture)
    assert looks.long_sides == [640, 1024]
    at_once = looks.detect(picture.decode(2), long_side=640).scaled(2, 2)
    assert seen.pixels.shape == sheet.shape
    assert seen.found.boxes[0] == pytest.approx(at_once.boxes[0], abs=0.01)
