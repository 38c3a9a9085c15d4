"""Bytes to upright BGR pixels, refusing what Rekognition refuses and what would hurt, before a single pixel is decoded.

Format, dimensions and completeness are read from the file's own structure: OpenCV would also open GIF, WebP and BMP,
would allocate whatever a header claims, and gives half a picture for half a JPEG without an error. Only then OpenCV
decodes.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from app.errors import ImageTooLarge, InvalidImageFormat, InvalidParameter
from workers.vision.arrays import Pixels
from workers.vision.file_formats import Header, read_header

MAX_SIDE = 10_000
MAX_PIXELS = 50_000_000
MIN_SIDE = 80

#: libjpeg can leave out frequencies while it decodes, which gives a smaller picture at a fraction of the cost.
_REDUCED_JPEG = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


@dataclass(frozen=True, slots=True)
class Picture:
    """A whole JPEG or PNG of acceptable size; each size of it is decoded when it is first asked for, and kept.

    Of a PNG it holds only what its pixels are decoded from. One thread looks at a picture.
    """

    image: bytes
    header: Header
    _decoded: dict[int, Pixels] = field(default_factory=dict, init=False, repr=False, compare=False)

    def reduction(self, long_side: int) -> int:
        """Give the largest factor (1, 2, 4, 8) that leaves at least this long side."""
        have = max(self.header.width, self.header.height)
        return max(factor for factor in _REDUCED_JPEG if factor == 1 or have >= long_side * factor)

    def decode(self, reduction: int = 1) -> Pixels:
        """Give upright BGR, smaller by the factor; colour spaces, bit depths and transparency are evened out."""
        if reduction not in self._decoded:
            self._decoded[reduction] = self._decode(reduction)
        return self._decoded[reduction]

    def _decode(self, reduction: int) -> Pixels:
        if self.header.format == "JPEG":
            return _imdecode(self.image, _REDUCED_JPEG[reduction])  # OpenCV applies the Exif orientation
        if reduction == 1:
            return _imdecode(self.image, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        pixels = self.decode()
        size = -(-pixels.shape[1] // reduction), -(-pixels.shape[0] // reduction)
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def open_picture(image: bytes) -> Picture:
    """Check format, dimensions and completeness; raise InvalidImageFormat, ImageTooLarge or InvalidParameter."""
    header = read_header(image)
    width, height = header.width, header.height
    if max(width, height) > MAX_SIDE:
        raise ImageTooLarge(
            f"Input image dimensions {width} x {height} exceed maximum dimension size of {MAX_SIDE} pixels"
        )
    if width * height > MAX_PIXELS:
        raise ImageTooLarge
    if min(width, height) < MIN_SIDE:
        raise InvalidParameter
    return Picture(header.essentials(image), header)


def _imdecode(image: bytes, flags: int) -> Pixels:
    try:
        pixels = cv2.imdecode(np.frombuffer(image, np.uint8), flags)
    except cv2.error as error:
        raise InvalidImageFormat from error
    if pixels is None:
        raise InvalidImageFormat
    return np.asarray(pixels, np.uint8)
