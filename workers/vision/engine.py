"""FaceEngine.analyze: an image's bytes to its faces. The one door into vision, with `embed` for faces that are cut out already.

An engine holds no state but its networks, so one is shared by all threads of a process. Detection looks at a small
picture; a face is cut from it too where it has at least about as many pixels there as a crop, and otherwise from a
larger one, up to the full one; each is decoded once for all. A face that is upright and clear is embedded as it was
found: looking again is for faces whose eyes are not level or whose embedding is short, so that most pictures pay
nothing for it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from app.config import Settings
from app.domain.face_models import FaceModelVersion
from app.domain.faces import (
    MAX_FACES_PER_IMAGE,
    BoundingBox,
    DetectedFace,
    Landmarks,
    Measures,
    by_size,
    iou,
    quality_reasons,
)
from workers.vision import quality, roll, search
from workers.vision.alignment import CROP_SIZE, align
from workers.vision.arrays import Floats, Pixels
from workers.vision.decode import Picture, open_picture
from workers.vision.detector import OVERLAP_THRESHOLD, Detections, Detector
from workers.vision.embedder import Embedder
from workers.vision.models import open_detector, open_embedder

ENOUGH_PIXELS = 100  # box width that fills a 112 pixel crop; narrower faces are cut from a larger picture
LYING_DEGREES = 45.0  # where one face is rolled further than this, others that lie may have been overlooked
CLEAR_SCORE = 0.9  # 418 of 418 upright portraits have more
DOUBT = 1.2
GUESS_SCORE = 0.85  # of a guess that nothing else proves; a part of a cat had 0.73


@dataclass(frozen=True, slots=True)
class View:
    """One face as it was cut out and embedded; `norm` is the length of its raw embedding."""

    face: Detections
    crop: Pixels
    embedding: Floats
    norm: float


class FaceEngine:
    """Finds, measures and embeds the faces of images with one face model version."""

    def __init__(self, detector: Detector, embedder: Embedder, version: FaceModelVersion) -> None:
        self._detector = detector
        self._embedder = embedder
        self.version = version
        self._upright_norm = version.upright_norm or 0.0

    @classmethod
    def load(cls, settings: Settings, version: FaceModelVersion) -> "FaceEngine":
        """Open the networks of a version; raise AssetError or ModelError if that is impossible."""
        # OpenCV would start a thread per core inside every call; jobs already run side by side, one per core.
        cv2.setNumThreads(1)
        return cls(Detector(open_detector(settings, version)), _open_embedder(settings, version), version)

    def with_version(self, settings: Settings, version: FaceModelVersion) -> "FaceEngine":
        """Make an engine of another version that shares this one's detector, for that all registered versions do."""
        return FaceEngine(self._detector, _open_embedder(settings, version), version)

    def embed(self, crops: Sequence[bytes]) -> list[bytes]:
        """Embed faces that are cut out already, as `DetectedFace.crop` holds them."""
        if not crops:
            return []
        pixels = np.stack([np.frombuffer(crop, np.uint8).reshape(CROP_SIZE, CROP_SIZE, 3) for crop in crops])
        embeddings, _ = self._embedder.embed(pixels)
        return [embedding.astype("<f4").tobytes() for embedding in embeddings]

    def analyze(self, image: bytes) -> list[DetectedFace]:
        """List the faces, largest first, at most a hundred; raise what `decode.open_picture` raises."""
        picture = open_picture(image)
        seen = search.find(self._detector, picture)
        looks = roll.Looks(self._detector)
        faces = self._faces(looks, picture, seen.pixels, _largest(seen.found, MAX_FACES_PER_IMAGE))
        guesses = roll.turned(looks, seen.pixels, seen.doubtful).without_overlaps()
        guesses = guesses.apart_from(_places(faces, seen.pixels))
        faces += self._proven(looks, picture, seen.pixels, _largest(guesses, MAX_FACES_PER_IMAGE - len(faces)))
        if not faces or any(abs(face.pose.roll) > LYING_DEGREES for face in faces):
            lying = search.find_turned(self._detector, seen.pixels).apart_from(_places(faces, seen.pixels))
            faces += self._proven(looks, picture, seen.pixels, _largest(lying, MAX_FACES_PER_IMAGE - len(faces)))
        return by_size(_apart(faces))

    def _proven(self, looks: roll.Looks, picture: Picture, pixels: Pixels, guesses: Detections) -> list[DetectedFace]:
        """Give of what was found by guessing the faces that pass the lowest bar.

        Where the length of an embedding tells nothing, the detector alone must be sure.
        """
        least = GUESS_SCORE if self.version.upright_norm is None else 0.0
        faces = self._faces(looks, picture, pixels, guesses)
        return [
            face
            for face in faces
            if face.measures.detector_score >= least and not quality_reasons(face, "LOW", self.version)
        ]

    def _faces(self, looks: roll.Looks, picture: Picture, pixels: Pixels, found: Detections) -> list[DetectedFace]:
        faces = []
        for source, part in _with_enough_pixels(picture, pixels, found):
            levelled = roll.level(looks, source, part)
            source_scale = max(picture.header.width, picture.header.height) / max(source.shape[:2])
            faces += [_face(view, source.shape, source_scale) for view in self._turned(looks, source, part, levelled)]
        return faces

    def _views(self, pixels: Pixels, found: Detections) -> list[View]:
        if len(found) == 0:
            return []
        crops = align(pixels, found.points)
        embeddings, norms = self._embedder.embed(crops)
        return [
            View(found.at([index]), crops[index], embeddings[index], float(norms[index])) for index in range(len(found))
        ]

    def _turned(self, looks: roll.Looks, pixels: Pixels, found: Detections, levelled: Detections) -> Iterator[View]:
        """Turn the faces that may be turned and believe what makes their embedding longest.

        Left out is what looks like a face in no turn and is below the lowest quality bar; the rest stays as it was found.
        """
        views = self._views(pixels, levelled)
        again = {
            index: roll.turned(looks, pixels, view.face)
            for index, view in enumerate(views)
            if self._may_be_turned(view) and looks.suffice()
        }
        places = [index for index in again if (found.points[index] != levelled.points[index]).any()]
        others = found.at(places)
        for index, seen in again.items():
            others, places = others.and_those(seen), places + [index] * len(seen)
        for index, other in zip(places, self._views(pixels, others), strict=True):
            views[index] = max(views[index], other, key=lambda one: one.norm)
        for index, view in enumerate(views):
            is_unseen = index in again and len(again[index]) == 0
            if not is_unseen or view.norm >= self.version.quality_bars["LOW"].embedding_norm:
                yield view

    def _may_be_turned(self, view: View) -> bool:
        """Judge by the length of the embedding, more strictly where the detector was in doubt too."""
        doubt = DOUBT if view.face.scores[0] < CLEAR_SCORE else 1.0
        return view.norm < self._upright_norm * doubt


def _open_embedder(settings: Settings, version: FaceModelVersion) -> Embedder:
    """Open the embedder of a version; raise AssetError or ModelError."""
    return Embedder(open_embedder(settings, version), version.preprocessing)


def _largest(found: Detections, limit: int) -> Detections:
    """Order by area, largest first, and leave out what is beyond a limit."""
    areas = found.boxes[:, 2] * found.boxes[:, 3]
    return found.at(np.argsort(-areas, kind="stable")[:limit])


def _apart(faces: list[DetectedFace]) -> list[DetectedFace]:
    """Keep the surest of faces that overlap: a turned look may give a face the place of its neighbour."""
    kept: list[DetectedFace] = []
    for face in sorted(faces, key=lambda one: one.measures.detector_score, reverse=True):
        if all(iou(face.box, other.box) <= OVERLAP_THRESHOLD for other in kept):
            kept.append(face)
    return kept


def _places(faces: list[DetectedFace], pixels: Pixels) -> Floats:
    """Give the boxes of faces (n x 4) in pixels of a picture."""
    height, width = pixels.shape[:2]
    boxes = [(face.box.left, face.box.top, face.box.width, face.box.height) for face in faces]
    return np.array(boxes, np.float32).reshape(-1, 4) * np.array([width, height, width, height], np.float32)


def _with_enough_pixels(picture: Picture, pixels: Pixels, found: Detections) -> Iterator[tuple[Pixels, Detections]]:
    """Go back to a larger picture, up to the full one, for the faces that the reduced one shows too small for their crops."""
    is_reduced = max(picture.header.width, picture.header.height) > max(pixels.shape[:2])
    is_small = (found.boxes[:, 2] < ENOUGH_PIXELS) & is_reduced
    if not is_small.all():
        yield pixels, found.where(~is_small)
    if is_small.any():
        enlargement = ENOUGH_PIXELS / float(found.boxes[:, 2].min())
        larger = picture.decode(picture.reduction(math.ceil(max(pixels.shape[:2]) * enlargement)))
        yield larger, found.where(is_small).scaled(larger.shape[1] / pixels.shape[1], larger.shape[0] / pixels.shape[0])


def _face(view: View, shape: tuple[int, ...], source_scale: float) -> DetectedFace:
    """Put one face together; `source_scale` is how many pixels of the source one pixel of the picture stands for."""
    height, width = shape[:2]
    left, top, box_width, box_height = (float(value) for value in view.face.boxes[0])
    score = float(view.face.scores[0])
    luma, normalised = quality.luma_and_sharpness(view.crop)
    points = [(float(x) / width, float(y) / height) for x, y in view.face.points[0]]
    return DetectedFace(
        box=BoundingBox(left / width, top / height, box_width / width, box_height / height),
        confidence=quality.confidence(score),
        landmarks=Landmarks(*points),
        pose=quality.pose(view.face.points[0]),
        measures=Measures(
            brightness=quality.brightness(luma),
            sharpness=quality.sharpness(normalised),
            luma=luma,
            normalised_sharpness=normalised,
            width_pixels=box_width * source_scale,
            detector_score=score,
            embedding_norm=view.norm,
        ),
        embedding=view.embedding.astype("<f4").tobytes(),
        crop=view.crop.tobytes(),
    )
