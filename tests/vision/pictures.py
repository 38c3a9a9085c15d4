"""Pictures made for tests: encoded by OpenCV, or put together by hand where OpenCV cannot."""

import math
import struct
import zlib
from collections.abc import Sequence

import cv2
import numpy as np

from app.domain.faces import DetectedFace
from workers.vision.arrays import Pixels


def jpeg(pixels: Pixels, *options: int) -> bytes:
    return bytes(cv2.imencode(".jpg", np.ascontiguousarray(pixels), options)[1])


def decoded(image: bytes) -> Pixels:
    return np.asarray(cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def rolled(pixels: Pixels, degrees: float) -> Pixels:
    """Turn a picture clockwise on a grey square that holds all of it."""
    height, width = pixels.shape[:2]
    side = math.ceil(math.hypot(height, width))
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1)
    turn[:, 2] += side / 2 - width / 2, side / 2 - height / 2
    return np.asarray(cv2.warpAffine(pixels, turn, (side, side), borderValue=(90, 90, 90)), np.uint8)


def scattered(portraits: Sequence[tuple[Pixels, DetectedFace]], size: tuple[int, int], face_width: int) -> Pixels:
    """Put portraits into a grid on grey, each scaled so that its face has a width in pixels; all must fit."""
    sheet = np.full((size[1], size[0], 3), 110, np.uint8)
    left = top = tallest = 0
    for pixels, face in portraits:
        factor = face_width / (face.box.width * pixels.shape[1])
        small = cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        if left + small.shape[1] > size[0]:
            left, top, tallest = 0, top + tallest, 0
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
        left, tallest = left + small.shape[1], max(tallest, small.shape[0])
    return sheet


def side_by_side(*images: bytes, heights: tuple[int, ...]) -> bytes:
    """Put pictures next to each other, each scaled to a height, on black."""
    pixels = [cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in images]
    scaled = [
        cv2.resize(one, (round(one.shape[1] * height / one.shape[0]), height), interpolation=cv2.INTER_AREA)
        for one, height in zip(pixels, heights, strict=True)
    ]
    tall = max(heights)
    return jpeg(np.hstack([cv2.copyMakeBorder(one, 0, tall - len(one), 0, 0, cv2.BORDER_CONSTANT) for one in scaled]))


def padded(image: bytes, size: int) -> bytes:
    """Fill a JPEG up to exactly so many bytes with segments that decoders skip."""
    missing, segments = size - len(image), b""
    while missing:
        length = min(missing, 65_537)
        if 0 < missing - length < 4:
            length -= 4
        segments += b"\xff\xef" + struct.pack(">H", length - 2) + bytes(length - 4)
        missing -= length
    return image[:2] + segments + image[2:]


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
