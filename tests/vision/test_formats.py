"""What an image may be: JPEG and PNG in all their kinds, upright by Exif, and nothing that is cut, huge or foreign."""

import csv
import struct
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.face_models import NEWEST
from app.domain.faces import DetectedFace, iou
from app.errors import ImageTooLarge, InvalidImageFormat, InvalidParameter, ServiceError
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


def jpeg(pixels: Pixels, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(pixels), options)[1])


def png(pixels: Pixels) -> bytes:
    return bytes(cv2.imencode(".png", pixels)[1])


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def exif(orientation: int) -> bytes:
    """The TIFF structure of Exif with one entry: 0x0112, orientation."""
    return b"MM\x00\x2a" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def with_exif(image: bytes, orientation: int) -> bytes:
    """Put an APP1 segment behind the JPEG's first marker."""
    segment = b"Exif\x00\x00" + exif(orientation)
    return image[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + image[2:]


def palette_png(pixels: Pixels) -> bytes:
    """Write grey levels as indices into a palette, which OpenCV itself cannot."""
    grey = cv2.cvtColor(pixels, cv2.COLOR_BGR2GRAY)
    rows = b"".join(b"\x00" + row.tobytes() for row in grey)
    palette = bytes(level for level in range(256) for _ in range(3))
    header = png_header(grey.shape[1], grey.shape[0], colour=3)
    return header + chunk(b"PLTE", palette) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def upright(portraits: dict[str, bytes]) -> Pixels:
    """A portrait of 455 x 568 pixels."""
    pixels = cv2.imdecode(np.frombuffer(portraits["obama"], np.uint8), cv2.IMREAD_COLOR)
    return np.asarray(cv2.resize(pixels, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), np.uint8)


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


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 0.9, 0.999])
def test_a_cut_file_is_refused(upright: Pixels, share: float) -> None:
    for image in (jpeg(upright), jpeg(upright, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), png(upright)):
        with pytest.raises(InvalidImageFormat, match="Request has invalid image format"):
            open_picture(image[: int(len(image) * share)])


def test_a_cut_file_is_refused_although_its_preview_is_whole(upright: Pixels) -> None:
    preview = b"Exif\x00\x00" + jpeg(cv2.resize(upright, (160, 120)))
    image = jpeg(upright)
    segment = b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview
    whole = image[:2] + segment + image[2:]
    assert open_picture(whole).header.width == upright.shape[1]
    with pytest.raises(InvalidImageFormat):
        open_picture(whole[: len(whole) // 2])


def test_damaged_pixels_of_a_png_are_refused(upright: Pixels) -> None:
    image = bytearray(png(upright))
    image[len(image) // 2] ^= 0x10
    with pytest.raises(InvalidImageFormat):
        open_picture(bytes(image))


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"not an image",
        b"GIF89a" + bytes(200),
        b"BM" + bytes(200),
        b"RIFF\x00\x01\x00\x00WEBPVP8 " + bytes(200),
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8\xff\xe0\x00",
        b"\x89PNG\r\n\x1a\n",
        png_header(0, 200),
    ],
)
def test_anything_but_jpeg_and_png_is_refused(engine: FaceEngine, image: bytes) -> None:
    with pytest.raises(InvalidImageFormat):
        engine.analyze(image)


def test_pixels_that_cannot_be_decoded_are_refused(engine: FaceEngine) -> None:
    image = png_header(200, 200) + chunk(b"IDAT", b"no compressed data") + chunk(b"IEND", b"")
    with pytest.raises(InvalidImageFormat):
        engine.analyze(image)


@pytest.mark.parametrize("size", [(60_000, 60_000), (10_001, 100)])
def test_a_bomb_is_refused_by_its_header(engine: FaceEngine, size: tuple[int, int]) -> None:
    image = png_header(*size) + chunk(b"IDAT", zlib.compress(bytes(1_000_000))) + chunk(b"IEND", b"")
    started = time.perf_counter()
    with pytest.raises(ImageTooLarge) as caught:
        engine.analyze(image)
    assert time.perf_counter() - started < 0.1
    assert caught.value.message == (
        f"Input image dimensions {size[0]} x {size[1]} exceed maximum dimension size of 10000 pixels"
    )


def test_more_than_fifty_megapixels_are_too_large(engine: FaceEngine) -> None:
    with pytest.raises(ImageTooLarge, match="Image size is too large"):
        engine.analyze(png_header(8_000, 6_251))


def test_a_jpeg_with_hundreds_of_scans_is_refused(upright: Pixels) -> None:
    image = jpeg(upright)
    scan = image.index(b"\xff\xda")
    with pytest.raises(InvalidImageFormat):
        open_picture(image[:scan] + image[scan:-2] * 101 + image[-2:])


@pytest.mark.parametrize("size", [(79, 200), (200, 79), (1, 1)])
def test_pictures_below_eighty_pixels_are_invalid(engine: FaceEngine, size: tuple[int, int]) -> None:
    with pytest.raises(InvalidParameter, match="Request has invalid parameters"):
        engine.analyze(png(np.zeros((size[1], size[0], 3), np.uint8)))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["jpeg", "png"]), st.binary(min_size=1, max_size=8), st.integers(2, 1500))
def test_damaged_headers_are_refused_or_read_but_never_crash(kind: str, damage: bytes, position: int) -> None:
    pixels = np.arange(100 * 120 * 3, dtype=np.uint32).reshape(100, 120, 3) // 150
    image = jpeg(pixels.astype(np.uint8)) if kind == "jpeg" else png(pixels.astype(np.uint8))
    damaged = image[:position] + damage + image[position + len(damage) :]
    try:
        picture = open_picture(damaged)
        decoded = picture.decode()
    except ServiceError:
        return
    assert sorted(decoded.shape[:2]) == sorted((picture.header.height, picture.header.width))


REFUSED = {
    "image.webp": InvalidImageFormat,
    "image.gif": InvalidImageFormat,
    "image.bmp": InvalidImageFormat,
    "truncated.jpg": InvalidImageFormat,
    "not_an_image.jpg": InvalidImageFormat,
    "empty.jpg": InvalidImageFormat,
    "tiny_40x50.jpg": InvalidParameter,
    "wide_2000x60.jpg": InvalidParameter,
}


@pytest.mark.faces
def test_the_collection_of_formats_reads_as_its_manifest_says(engine: FaceEngine, faces_dir: Path) -> None:
    with (faces_dir / "manifest.csv").open(newline="") as stream:
        files = [row["file"] for row in csv.DictReader(stream) if row["file"].startswith("formats/")]
    expected = engine.analyze((faces_dir / "portraits/catherine_coleman.jpg").read_bytes())[0]
    for file in files:
        name, image = Path(file).name, (faces_dir / file).read_bytes()
        if "noexif" in name:
            continue  # turned pixels without Exif are not turned back
        if name in REFUSED:
            with pytest.raises(ServiceError) as caught:
                engine.analyze(image)
            assert type(caught.value) is REFUSED[name]
        else:
            assert_same_face(engine.analyze(image), expected, minimum=99.0)


@pytest.mark.faces
def test_pictures_without_people_give_no_face(engine: FaceEngine, faces_dir: Path) -> None:
    pictures = sorted((faces_dir / "noface").glob("*.jpg"))
    assert len(pictures) == 9
    assert [engine.analyze(path.read_bytes()) for path in pictures] == [[]] * 9
