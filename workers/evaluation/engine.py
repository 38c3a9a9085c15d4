"""The workers' own engine as a recognizer: what is measured is what searches."""

import numpy as np

from app.domain.faces import DetectedFace
from workers.evaluation.enrolment import Embedded, NoFace
from workers.vision.engine import FaceEngine


class EngineRecognizer:
    """Takes the largest face of a picture, as a search does, or the one in its middle."""

    by_distance = False

    def __init__(self, engine: FaceEngine, *, central: bool) -> None:
        self.name = f"face model version {engine.version.version}"
        self._engine = engine
        self._central = central

    def embed(self, image: bytes) -> Embedded:
        """Embed the face that counts; raise NoFace, or ServiceError for what is no picture."""
        faces = self._engine.analyze(image)
        if not faces:
            raise NoFace
        face = min(faces, key=_distance_to_middle) if self._central else faces[0]
        return Embedded(np.frombuffer(face.embedding, "<f4"), face.measures.embedding_norm)


def _distance_to_middle(face: DetectedFace) -> float:
    box = face.box
    return float(np.hypot(box.left + box.width / 2 - 0.5, box.top + box.height / 2 - 0.5))
