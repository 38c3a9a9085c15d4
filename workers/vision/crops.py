"""Crops as files: PNG, because an embedding made of a kept crop must be the one that the picture itself gives."""

import cv2
import numpy as np

from workers.vision.alignment import CROP_SIZE

#: Higher levels are several times slower for some percent.
_COMPRESSION = [cv2.IMWRITE_PNG_COMPRESSION, 3]


def encode(crop: bytes) -> bytes:
    """Make a PNG file of a crop."""
    pixels = np.frombuffer(crop, np.uint8).reshape(CROP_SIZE, CROP_SIZE, 3)
    _, file = cv2.imencode(".png", pixels, _COMPRESSION)
    return bytes(file.tobytes())


def decode(file: bytes) -> bytes:
    """Give the crop of a PNG file that `encode` made."""
    return np.asarray(cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR), np.uint8).tobytes()
