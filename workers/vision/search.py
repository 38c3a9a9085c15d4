"""Which looks at a picture find its faces: one at a long side of 640, and a closer one where that can find more.

The detector was trained on faces of 10 to 300 pixels. On pictures of several megapixels it finds fewer faces at full
size than at 640, at forty times the cost, so a picture is never looked at whole. What is too small at 640 mostly leaves
a trace there, a box with a low score, and that is what a closer look costs its time for: of faces 40 pixels wide in
1920 x 1080, 88 % are found at 640 and 100 % at 1024. It also sees small landmarks better: below 32 pixels the cosine to
a portrait rose by 0.09 in the mean. Of 147 portraits of five megapixels six take the closer look in vain.
"""

import math
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np

from workers.vision.arrays import Flags, Floats, Pixels
from workers.vision.decode import Picture
from workers.vision.detector import SCORE_THRESHOLD, Detections, Detector

SHORTEST_LONG_SIDE = 320  # smaller pictures are enlarged, which doubles what is found of faces below 20 pixels
LONG_SIDE = 640
CLOSER_LONG_SIDE = 1024
MORE_PIXELS = 1.2  # the source must have so many times what the first look saw, or a closer one would see the same

TRACE_SCORE = 0.2

#: Of large boxes: nine of ten faces that lie have at least this score, and one in 150 portraits has one besides its face.
DOUBTFUL_SCORE = 0.5

SMALL_FACE = 32  # pixels of the first look


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """The pixels that were looked at, the faces in them, and large boxes that may be faces seen from an odd side."""

    pixels: Pixels
    found: Detections
    doubtful: Detections


def find(detector: Detector, picture: Picture) -> Search:
    """Look at a picture once or, if need be, twice."""
    pixels = picture.decode(picture.reduction(LONG_SIDE))
    side = min(max(*pixels.shape[:2], SHORTEST_LONG_SIDE), LONG_SIDE)
    traces = detector.detect(pixels, long_side=side, score=TRACE_SCORE)
    is_large = traces.boxes[:, 2] >= SMALL_FACE * max(pixels.shape[:2]) / side
    is_found = traces.scores >= SCORE_THRESHOLD
    first = Search(
        pixels, traces.where(is_found), traces.where(~is_found & is_large & (traces.scores >= DOUBTFUL_SCORE))
    )
    source_side = max(picture.header.width, picture.header.height)
    if source_side < MORE_PIXELS * LONG_SIDE or (is_found.any() and is_large.all()):
        return first
    return _look_closer(detector, picture, first, is_large[is_found])


def _look_closer(detector: Detector, picture: Picture, first: Search, is_large: Flags) -> Search:
    """Look again at 1024: what was large stays as it was, what was small is believed where it is seen closer."""
    pixels = picture.decode(picture.reduction(CLOSER_LONG_SIDE))
    factors = pixels.shape[1] / first.pixels.shape[1], pixels.shape[0] / first.pixels.shape[0]
    large, small = first.found.where(is_large).scaled(*factors), first.found.where(~is_large).scaled(*factors)
    seen = detector.detect(pixels, long_side=min(max(pixels.shape[:2]), CLOSER_LONG_SIDE)).apart_from(large.boxes)
    found = large.and_those(seen).and_those(small.apart_from(seen.boxes))
    return Search(pixels, found, first.doubtful.scaled(*factors).apart_from(seen.boxes))


def find_turned(detector: Detector, pixels: Pixels) -> Detections:
    """Look at the picture lying on either side and standing on its head, and slanted where that shows nothing."""
    height, width = pixels.shape[:2]
    side = min(max(height, width, SHORTEST_LONG_SIDE), LONG_SIDE)
    lying, inverted, lying_otherwise = (
        detector.detect(np.asarray(cv2.rotate(pixels, turn), np.uint8), long_side=side).placed(
            np.array(back, np.float64)
        )
        for turn, back in (
            (cv2.ROTATE_90_CLOCKWISE, [[0, 1, 0], [-1, 0, height]]),
            (cv2.ROTATE_180, [[-1, 0, width], [0, -1, height]]),
            (cv2.ROTATE_90_COUNTERCLOCKWISE, [[0, -1, width], [1, 0, 0]]),
        )
    )
    found = lying.and_those(inverted).and_those(lying_otherwise)
    return (found if len(found) else _find_slanted(detector, pixels)).without_overlaps()


def _find_slanted(detector: Detector, pixels: Pixels) -> Detections:
    """Look at a small copy of the picture on each of its corners."""
    height, width = pixels.shape[:2]
    scale = SHORTEST_LONG_SIDE * math.sqrt(2) / (height + width)  # so that the square holds all of it
    found = []
    for degrees in (45, 135, 225, 315):
        slant: Floats = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, scale), np.float64)
        slant[:, 2] += (SHORTEST_LONG_SIDE - np.array([width, height])) / 2
        slanted = np.asarray(cv2.warpAffine(pixels, slant, (SHORTEST_LONG_SIDE, SHORTEST_LONG_SIDE)), np.uint8)
        seen = detector.detect(slanted, long_side=SHORTEST_LONG_SIDE)
        found.append(seen.placed(np.asarray(cv2.invertAffineTransform(slant))))
    return reduce(Detections.and_those, found)
