"""What an image may be: JPEG and PNG in all their kinds, upright by Exif."""

import cv2
import numpy as np
import pytest

from app.domain.face_models import NEWEST
from app.domain.faces import DetectedFace, iou
from tests.vision.pictures import chunk, exif, jpeg, palette_png, png, with_exif
from workers.vision.arrays import Pixels
from workers.vision.decode import open_picture
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models

#: How the pixels of an upright picture must be stored so that each Exif orientation makes them upright again.
STORED = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright[::-1, ::-1].transpose(1, 0, 2),
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}


@pytest.fixture(scope="module")
def expected(engine: FaceEngine, upright: Pixels) -> DetectedFace:
    return engine.analyze(png(upright))[0]


def assert_same_face(found: list[DetectedFace], expected: DetectedFace, minimum: float = 99.9) -> None:
    assert len(found) == 1
    assert iou(found[0].box, expected.box) > 0.9
    one, other = (np.frombuffer(face.embedding, "<f4") for face in (found[0], expected))
    assert NEWEST.curve.similarity(float(one @ other)) > minimum


@pytest.mark.parametrize("orientation", STORED)
def test_a_jpeg_is_turned_upright_by_its_exif_orientation(
    engine: FaceEngine, upright: Pixels, expected: DetectedFace, orientation: int
) -> None:
    stored = jpeg(STORED[orientation](upright))
    assert_same_face(engine.analyze(with_exif(stored, orientation)), expected)


@pytest.mark.parametrize("orientation", [3, 6])
def test_a_large_jpeg_is_upright_too_when_it_is_decoded_reduced(
    engine: FaceEngine, upright: Pixels, expected: DetectedFace, orientation: int
) -> None:
    large = cv2.resize(upright, None, fx=6, fy=6)
    picture = with_exif(jpeg(STORED[orientation](large)), orientation)
    assert open_picture(picture).reduction(640) == 4
    assert_same_face(engine.analyze(picture), expected)


def test_exif_in_a_png_is_not_applied(engine: FaceEngine, upright: Pixels, expected: DetectedFace) -> None:
    plain = png(upright)
    behind_header = 8 + 25
    turned = plain[:behind_header] + chunk(b"eXIf", exif(3)) + plain[behind_header:]
    assert_same_face(engine.analyze(turned), expected)


def test_every_kind_of_png_and_jpeg_is_read(engine: FaceEngine, upright: Pixels, expected: DetectedFace) -> None:
    grey = cv2.cvtColor(upright, cv2.COLOR_BGR2GRAY)
    kinds = {
        "progressive": jpeg(upright, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        "restarts": jpeg(upright, cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
        "trailing bytes": jpeg(upright) + b"\x00" * 100 + jpeg(upright)[:500],
        "grey jpeg": jpeg(grey),
        "grey png": png(grey),
        "16 bit grey": png(grey.astype(np.uint16) * 257),
        "16 bit colour": png(upright.astype(np.uint16) * 257),
        "alpha": png(cv2.cvtColor(upright, cv2.COLOR_BGR2BGRA)),
        "palette": palette_png(upright),
    }
    for image in kinds.values():
        assert_same_face(engine.analyze(image), expected)


def test_small_faces_of_a_large_picture_are_cut_from_all_its_pixels(
    engine: FaceEngine, upright: Pixels, expected: DetectedFace
) -> None:
    sheet = np.full((2600, 2600, 3), 90, np.uint8)
    sheet[1000:1568, 1500:1955] = upright
    for image in (jpeg(sheet, cv2.IMWRITE_JPEG_QUALITY, 98), png(sheet)):
        face = engine.analyze(image)[0]
        assert face.measures.width_pixels == pytest.approx(expected.measures.width_pixels, rel=0.05)
        cosine = float(np.frombuffer(face.embedding, "<f4") @ np.frombuffer(expected.embedding, "<f4"))
        assert cosine > 0.95
