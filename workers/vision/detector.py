"""Pixels to boxes and five landmarks, with the YuNet network (Wu et al. 2023).

Decoding of the network's output follows OpenCV's FaceDetectorYN, with which it agrees within 1e-4 pixels. Which looks
at a picture are worth their time is decided in `workers.vision.search`.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from workers.vision.arrays import Flags, Floats, Indices, Pixels
from workers.vision.sessions import Session

SCORE_THRESHOLD = 0.7
OVERLAP_THRESHOLD = 0.3
STRIDES = (8, 16, 32)
#: Boxes that are compared with each other, as many as OpenCV compares, and those that are given, best score first:
#: a picture of millions of pixels has a cell for each 64, and what follows keeps tables of pairs.
MOST_COMPARED = 5000
MOST_FOUND = 300
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

    def where(self, flags: Flags) -> "Detections":
        """Give the flagged faces, in the same order."""
        return self.at(np.flatnonzero(flags))

    def and_those(self, others: "Detections") -> "Detections":
        """Give these faces and then the others."""
        return Detections(
            np.concatenate([self.boxes, others.boxes]),
            np.concatenate([self.points, others.points]),
            np.concatenate([self.scores, others.scores]),
        )

    def but(self, index: int, face: "Detections") -> "Detections":
        """Give these faces with another one in a place."""
        boxes, points, scores = self.boxes.copy(), self.points.copy(), self.scores.copy()
        boxes[index], points[index], scores[index] = face.boxes[0], face.points[0], face.scores[0]
        return Detections(boxes, points, scores)

    def without_overlaps(self) -> "Detections":
        """Keep the best of boxes that overlap by more than 0.3 (intersection over union), best score first."""
        if len(self) == 0:
            return self
        # OpenCV truncates boxes to whole pixels before it compares them; doing the same keeps the same faces.
        boxes = [[int(value) for value in box] for box in self.boxes]
        return self.at(list(cv2.dnn.NMSBoxes(boxes, self.scores.tolist(), 0.0, OVERLAP_THRESHOLD, 1.0, MOST_COMPARED)))

    def apart_from(self, boxes: Floats) -> "Detections":
        """Give the faces that overlap none of m boxes (m x 4) by more than two detections of one picture may."""
        return self.where(np.all(_overlaps(self.boxes, boxes) <= OVERLAP_THRESHOLD, axis=1))

    def scaled(self, x: float, y: float) -> "Detections":
        """Give the same faces in a picture of another size."""
        factors = np.array([x, y], np.float32)
        return Detections(self.boxes * np.tile(factors, 2), self.points * factors, self.scores)

    def placed(self, matrix: Floats) -> "Detections":
        """Give the same faces where a 2 x 3 matrix of scale, rotation and shift brings them.

        A box becomes the upright one around the ellipse that the rotated box holds: as wide and high as a face seen so.
        """
        rotation, shift = matrix[:, :2], matrix[:, 2]
        centres = (self.boxes[:, :2] + self.boxes[:, 2:] / 2) @ rotation.T + shift
        sizes = np.hypot(self.boxes[:, 2:3] * rotation[:, 0], self.boxes[:, 3:4] * rotation[:, 1])
        boxes = np.concatenate([centres - sizes / 2, sizes], axis=1)
        points = self.points @ rotation.T + shift
        return Detections(boxes.astype(np.float32), points.astype(np.float32), self.scores)


class Detector:
    """Runs one YuNet network; safe to share between threads."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name
        self._outputs = [output.name for output in session.get_outputs()]

    def detect(self, pixels: Pixels, *, long_side: int, score: float = SCORE_THRESHOLD) -> Detections:
        """Find at most 300 faces of a picture, resized for it to a long side, in its own pixels and best score first."""
        height, width = pixels.shape[:2]
        resized = _resize(pixels, long_side)
        found = self._run(resized, score)
        return found.scaled(width / resized.shape[1], height / resized.shape[0])

    def outputs(self, pixels: Pixels) -> list[Floats]:
        """Give what the network itself makes of a picture in its own size: scores, boxes and points of every cell."""
        values: list[Floats] = self._session.run(self._outputs, {self._input: _padded_planes(pixels)})
        return values

    def _run(self, pixels: Pixels, score: float) -> Detections:
        outputs = dict(zip(self._outputs, self.outputs(pixels), strict=True))
        columns = -(-pixels.shape[1] // CELL) * CELL
        small, middle, large = (_decode(outputs, stride, columns // stride, score) for stride in STRIDES)
        return small.and_those(middle).and_those(large).without_overlaps().at(slice(MOST_FOUND))


def _resize(pixels: Pixels, long_side: int) -> Pixels:
    height, width = pixels.shape[:2]
    factor = long_side / max(height, width)
    if factor == 1:
        return pixels
    size = max(1, round(width * factor)), max(1, round(height * factor))
    # By less than half every pixel still counts without averaging areas, which took four times as long as decoding.
    interpolation = cv2.INTER_AREA if factor < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation), np.uint8)


def _padded_planes(pixels: Pixels) -> Floats:
    """1 x 3 x H x W, BGR 0..255, filled with black at the right and below to whole cells."""
    height, width = pixels.shape[:2]
    planes = np.zeros((1, 3, -(-height // CELL) * CELL, -(-width // CELL) * CELL), np.float32)
    planes[0, :, :height, :width] = pixels.transpose(2, 0, 1)
    return planes


def _decode(outputs: dict[str, Floats], stride: int, columns: int, score: float) -> Detections:
    """Read the faces of one grid: each cell offers one, relative to its own corner and in units of the stride."""
    classes, objects = outputs[f"cls_{stride}"][0, :, 0], outputs[f"obj_{stride}"][0, :, 0]
    scores = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))
    cells = np.flatnonzero(scores >= score)
    corners = np.stack([cells % columns, cells // columns], axis=1).astype(np.float32)
    offsets = outputs[f"bbox_{stride}"][0][cells]
    sizes = np.exp(offsets[:, 2:]) * stride
    centres = (corners + offsets[:, :2]) * stride
    points = (outputs[f"kps_{stride}"][0][cells].reshape(-1, 5, 2) + corners[:, None]) * stride
    return Detections(np.concatenate([centres - sizes / 2, sizes], axis=1), points, scores[cells])


def _overlaps(boxes: Floats, others: Floats) -> Floats:
    """Intersection over union of each of n boxes with each of m others (n x m)."""
    corners, far = boxes[:, None, :2], boxes[:, None, :2] + boxes[:, None, 2:]
    other_corners, other_far = others[None, :, :2], others[None, :, :2] + others[None, :, 2:]
    both = np.prod(np.clip(np.minimum(far, other_far) - np.maximum(corners, other_corners), 0, None), axis=2)
    areas = np.prod(boxes[:, 2:], axis=1)[:, None] + np.prod(others[:, 2:], axis=1)[None, :]
    return np.asarray(both / (areas - both))
