"""Faces in an image: where they are, how good they are, and which of them pass the quality filter.

A detected face was found in an image and is not stored; a face is one that a collection holds. Boxes and landmarks are
ratios of the upright image's width and height, unclipped: a face cut by the edge has values below 0 or above 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.face_models import FaceModelVersion

#: What a caller may ask of the quality filter; AUTO is the service's own choice.
QUALITY_LEVELS = {"LOW": "LOW", "MEDIUM": "MEDIUM", "AUTO": "MEDIUM", "HIGH": "HIGH"}

MAX_FACES_PER_IMAGE = 100


@dataclass(frozen=True, slots=True)
class BoundingBox:
    """Ratios of the image's width and height, origin upper left."""

    left: float
    top: float
    width: float
    height: float

    @property
    def area(self) -> float:
        """Share of the image, 0..1 for a face inside it."""
        return self.width * self.height


def iou(one: BoundingBox, other: BoundingBox) -> float:
    """Give intersection over union of two boxes, 0..1."""
    width = min(one.left + one.width, other.left + other.width) - max(one.left, other.left)
    height = min(one.top + one.height, other.top + other.height) - max(one.top, other.top)
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / (one.area + other.area - both)


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The five points, each (x, y) in ratios; left and right as seen in the image."""

    eye_left: tuple[float, float]
    eye_right: tuple[float, float]
    nose: tuple[float, float]
    mouth_left: tuple[float, float]
    mouth_right: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Pose:
    """Degrees; 0, 0, 0 looks into the camera."""

    roll: float
    yaw: float
    pitch: float


@dataclass(frozen=True, slots=True)
class Measures:
    """What was measured of a face's picture: Rekognition's two numbers, and the raw ones that the filter uses."""

    brightness: float  # 0..100
    sharpness: float  # 0..100
    luma: float  # mean grey value of the face ellipse, 0..255
    normalised_sharpness: float  # variance of the Laplacian over variance of the grey values
    width_pixels: float  # width of the box in the source picture
    detector_score: float  # 0..1
    embedding_norm: float  # length of the raw embedding; the best predictor of recognition errors


@dataclass(frozen=True, slots=True)
class DetectedFace:
    """One face found in an image. `embedding` is float32 little-endian of unit length, the dimension is the version's."""

    box: BoundingBox
    confidence: float  # 0..100
    landmarks: Landmarks
    pose: Pose
    measures: Measures
    embedding: bytes
    crop: bytes = field(default=b"", repr=False)  # aligned, 112 x 112 pixels of blue, green, red


@dataclass(frozen=True, slots=True)
class RejectedFace:
    """A detected face that is not indexed or searched, with Rekognition's reasons."""

    face: DetectedFace
    reasons: tuple[str, ...]


def by_size(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Sort largest box first, as every answer of Rekognition does."""
    return sorted(faces, key=lambda face: face.box.area, reverse=True)


def quality_reasons(face: DetectedFace, level: str, version: FaceModelVersion) -> tuple[str, ...]:
    """List why a face fails a level of the quality filter (NONE, AUTO, LOW, MEDIUM, HIGH); empty if it passes."""
    if level == "NONE":
        return ()
    bar = version.quality_bars[QUALITY_LEVELS[level]]
    measures = face.measures
    failed: Mapping[str, bool] = {
        "SMALL_BOUNDING_BOX": measures.width_pixels < bar.width_pixels,
        "LOW_CONFIDENCE": measures.detector_score < bar.detector_score,
        "EXTREME_POSE": abs(face.pose.yaw) > bar.yaw_degrees,
        "LOW_SHARPNESS": measures.normalised_sharpness < bar.sharpness,
        "LOW_BRIGHTNESS": not bar.luma_low <= measures.luma <= bar.luma_high,
        "LOW_FACE_QUALITY": measures.embedding_norm < bar.embedding_norm,
    }
    return tuple(reason for reason, fails in failed.items() if fails)


def choose(
    faces: list[DetectedFace], *, level: str, max_faces: int | None, version: FaceModelVersion
) -> tuple[list[DetectedFace], list[RejectedFace]]:
    """Split the faces of one image into those to index, largest first, and those left out with reasons.

    Above `max_faces` the lowest quality goes first, then the smallest box. Quality counts in the levels of the filter here:
    by a finer measure no two faces would be equal, and the size of a face would never count.
    """
    kept: list[DetectedFace] = []
    rejected: list[RejectedFace] = []
    for face in by_size(faces):
        reasons = quality_reasons(face, level, version)
        if reasons:
            rejected.append(RejectedFace(face, reasons))
        else:
            kept.append(face)
    limit = min(max_faces or MAX_FACES_PER_IMAGE, MAX_FACES_PER_IMAGE)
    ranked = sorted(kept, key=lambda face: (_levels_passed(face, version), face.box.area), reverse=True)
    surplus = {id(face) for face in ranked[limit:]}
    rejected += [RejectedFace(face, ("EXCEEDS_MAX_FACES",)) for face in kept if id(face) in surplus]
    return [face for face in kept if id(face) not in surplus], rejected


def _levels_passed(face: DetectedFace, version: FaceModelVersion) -> int:
    return sum(not quality_reasons(face, level, version) for level in version.quality_bars)
