"""Pixels to boxes and five landmarks, with the YuNet network (Wu et al. 2023).

Decoding of the network's output follows OpenCV's FaceDetectorYN, with which it agrees within 1e-4 pixels. Detection
runs at a long side of 640: the network was trained on faces of 10 to 300 pixels, and on pictures of several
megapixels it finds fewer faces at full size than at 640, at forty times the cost. Small pictures are enlarged to 320,
which doubles what is found of faces below 20 pixels.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from workers.vision.arrays import Floats, Indices, Pixels
from workers.vision.models import Session

LONG_SIDE = 640
SHORTEST_LONG_SIDE = 320
SCORE_THRESHOLD = 0.7
OVERLAP_THRESHOLD = 0.3
STRIDES = (8, 16, 32)
CELL = 32  # the network halves a picture five times


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """n faces in pixels of a picture: boxes (n x 4: left, top, width, height), points (n x 5 x 2), scores (n)."""

    boxes: Floats
    points: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def at(self, indices: Indices) -> "Detections":
        """Give some of the faces, in the order of the indices."""
        return Detections(self.boxes[indices], self.points[indices], self.scores[indices])

    def scaled(self, x: float, y: float) -> "Detections":
        """Give the same faces in a picture of another size."""
        factors = np.array([x, y], np.float32)
        return Detections(self.boxes * np.tile(factors, 2), self.points * factors, self.scores)


class Detector:
    """Runs one YuNet network; safe to share between threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]

    def detect(self, pixels: Pixels) -> Detections:
        """Find the faces of a picture of any size, in its own pixels, best score first."""
        height, width = pixels.shape[:2]
        resized = _resize(pixels)
        found = self._run(resized)
        return found.scaled(width / resized.shape[1], height / resized.shape[0])

    def _run(self, pixels: Pixels) -> Detections:
        planes = _padded_planes(pixels)
        values = self._session.run(self._outputs, {self._input: planes})
        outputs = dict(zip(self._outputs, values, strict=True))
        levels = [_decode(outputs, stride, columns=planes.shape[3] // stride) for stride in STRIDES]
        return _without_overlaps(
            Detections(
                np.concatenate([level.boxes for level in levels]),
                np.concatenate([level.points for level in levels]),
                np.concatenate([level.scores for level in levels]),
            )
        )


def _resize(pixels: Pixels) -> Pixels:
    """Bring the long side to 640 if it is longer, to 320 if it is shorter than that."""
    height, width = pixels.shape[:2]
    long_side = max(height, width)
    goal = min(max(long_side, SHORTEST_LONG_SIDE), LONG_SIDE)
    if goal == long_side:
        return pixels
    size = max(1, round(width * goal / long_side)), max(1, round(height * goal / long_side))
    interpolation = cv2.INTER_AREA if goal < long_side else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)


def _padded_planes(pixels: Pixels) -> Floats:
    """1 x 3 x H x W, BGR 0..255, filled with black at the right and below to whole cells."""
    height, width = pixels.shape[:2]
    planes = np.zeros((1, 3, -(-height // CELL) * CELL, -(-width // CELL) * CELL), np.float32)
    planes[0, :, :height, :width] = pixels.transpose(2, 0, 1)
    return planes


def _decode(outputs: dict[str, Floats], stride: int, columns: int) -> Detections:
    """Read the faces of one grid: each cell offers one, relative to its own corner and in units of the stride."""
    classes, objects = outputs[f"cls_{stride}"][0, :, 0], outputs[f"obj_{stride}"][0, :, 0]
    scores = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))
    cells = np.flatnonzero(scores >= SCORE_THRESHOLD)
    corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    offsets = outputs[f"bbox_{stride}"][0][cells]
    sizes = np.exp(offsets[:, 2:]) * stride
    centres = (corners + offsets[:, :2]) * stride
    points = (outputs[f"kps_{stride}"][0][cells].reshape(-1, 5, 2) + corners[:, None]) * stride
    return Detections(np.concatenate([centres - sizes / 2, sizes], axis=1), points, scores[cells])


def _without_overlaps(found: Detections) -> Detections:
    """Keep the best of boxes that overlap by more than 0.3 (intersection over union), best score first."""
    if len(found) == 0:
        return found
    # OpenCV truncates boxes to whole pixels before it compares them; doing the same keeps the same faces.
    boxes = [[int(value) for value in box] for box in found.boxes]
    keep = cv2.dnn.NMSBoxes(boxes, found.scores.tolist(), SCORE_THRESHOLD, OVERLAP_THRESHOLD)
    return found.at([int(index) for index in keep])
