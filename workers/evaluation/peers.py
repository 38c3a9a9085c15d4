"""Others on the same pictures, used as their own documentation does, for whoever has them installed.

OpenCV has its own use of the same two networks (detection at full size, score 0.9). dlib's face_recognition brings its own.
"""

import threading
from importlib import import_module

import cv2
import numpy as np

from app.assets import require_model
from app.config import Settings
from app.domain.face_models import SFACE, YUNET
from workers.evaluation.enrolment import Embedded, NoFace, Recognizer
from workers.evaluation.errors import EvaluationError
from workers.vision.arrays import Floats, Pixels


def open_peer(name: str, settings: Settings, *, central: bool) -> Recognizer:
    """Open a peer by name; raise EvaluationError where it is not installed, AssetError where it lacks its models."""
    return OpenCV(settings, central=central) if name == "opencv" else Dlib(central=central)


class OpenCV:
    """FaceDetectorYN and FaceRecognizerSF."""

    name = "OpenCV"
    by_distance = False

    def __init__(self, settings: Settings, *, central: bool) -> None:
        self._central = central
        self._detector_file = str(require_model(settings, YUNET))
        self._recognizer_file = str(require_model(settings, SFACE))
        # A recognizer warns at every start that it knows no targets.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._own = threading.local()  # a detector is set to a picture's size before it looks at it

    def embed(self, image: bytes) -> Embedded:
        """Embed the face that counts; raise NoFace."""
        if not hasattr(self._own, "detector"):
            self._own.detector = cv2.FaceDetectorYN.create(self._detector_file, "", (320, 320))
            self._own.recognizer = cv2.FaceRecognizerSF.create(self._recognizer_file, "")
        pixels = _decode(image)
        height, width = pixels.shape[:2]
        self._own.detector.setInputSize((width, height))
        _, faces = self._own.detector.detect(pixels)
        if faces is None:
            raise NoFace
        face = faces[_the_one(faces[:, :4], width, height, central=self._central)]
        raw = self._own.recognizer.feature(self._own.recognizer.alignCrop(pixels, face))[0]
        norm = float(np.linalg.norm(raw))
        return Embedded(raw / norm, norm)


class Dlib:
    """face_recognition with its defaults: the HOG detector, one jitter, Euclidean distance."""

    name = "dlib"
    by_distance = True

    def __init__(self, *, central: bool) -> None:
        self._central = central
        self._one_at_a_time = threading.Lock()  # the package keeps one detector for the whole process
        try:
            self._package = import_module("face_recognition")
        except (ImportError, SystemExit) as error:  # it quits where its models are missing
            raise EvaluationError("face_recognition is not installed") from error

    def embed(self, image: bytes) -> Embedded:
        """Embed the face that counts; raise NoFace."""
        pixels = np.ascontiguousarray(_decode(image)[:, :, ::-1])
        with self._one_at_a_time:
            places = self._package.face_locations(pixels)
            if not places:
                raise NoFace
            boxes = np.array([[left, top, right - left, bottom - top] for top, right, bottom, left in places])
            place = places[_the_one(boxes, pixels.shape[1], pixels.shape[0], central=self._central)]
            embedding = np.asarray(self._package.face_encodings(pixels, [place])[0], np.float32)
        return Embedded(embedding, float(np.linalg.norm(embedding)))


def _decode(image: bytes) -> Pixels:
    pixels = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) if image else None
    if pixels is None:
        raise NoFace
    return np.asarray(pixels, np.uint8)


def _the_one(boxes: Floats, width: int, height: int, *, central: bool) -> int:
    """Choose the largest of n x 4 boxes, or the one nearest to the middle."""
    if not central:
        return int(np.argmax(boxes[:, 2] * boxes[:, 3]))
    middles = (boxes[:, :2] + boxes[:, 2:] / 2) / (width, height)
    return int(np.argmin(np.linalg.norm(middles - 0.5, axis=1)))
