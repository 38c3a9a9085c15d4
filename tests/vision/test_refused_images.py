"""Images that are refused, and with which of Rekognition's errors: cut, damaged, foreign, too large, too small."""

import struct
import time
import zlib

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from app.errors import ImageTooLarge, InvalidImageFormat, InvalidParameter, ServiceError
from tests.vision.pictures import chunk, jpeg, png, png_header
from workers.vision.arrays import Pixels
from workers.vision.decode import open_picture
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models


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


@hypothesis.settings(max_examples=200, deadline=None)
@hypothesis.given(st.sampled_from(["jpeg", "png"]), st.binary(min_size=1, max_size=8), st.integers(2, 1500))
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
