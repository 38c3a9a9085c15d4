"""A detector that counts its looks, to tell what a picture costs."""

from workers.vision.arrays import Pixels
from workers.vision.detector import Detections, Detector
from workers.vision.engine import FaceEngine


class Looks(Detector):
    """Looks as the detector of an engine does, and notes the long side of each look."""

    def __init__(self, engine: FaceEngine) -> None:
        self._inner = engine._detector
        self.long_sides: list[int] = []

    def detect(self, pixels: Pixels, *, long_side: int, score: float = 0.7) -> Detections:
        self.long_sides.append(long_side)
        return self._inner.detect(pixels, long_side=long_side, score=score)
