"""CompareFaces: the largest face of one image against all faces of another; nothing is stored.

It belongs to no collection, so it is done with the face model version that new collections have.
"""

from app.db import face_models
from app.domain import embeddings
from app.domain.face_documents import bounding_box, face_detail
from app.domain.face_models import FaceModelVersion
from app.domain.faces import DetectedFace, quality_reasons
from app.domain.jobs import Claim
from app.errors import InvalidParameter
from app.services.faces import DEFAULT_THRESHOLD
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at both images and compare; an image without a face that passes the filter is the caller's fault."""
    level = claim.input.get("QualityFilter", "NONE")
    with runtime.database.statement() as connection:
        version = face_models.get_default(connection)
    bar = version.curve.cosine(claim.input.get("SimilarityThreshold", DEFAULT_THRESHOLD))
    source = _usable(look(claim, "SourceImage", runtime, version).faces[:1], level, version)[0]
    targets = _usable(look(claim, "TargetImage", runtime, version).faces, level, version)
    compared = [(embeddings.cosine(source.embedding, target.embedding), target) for target in targets]
    compared.sort(key=lambda pair: pair[0], reverse=True)
    output = {
        "SourceImageFace": {"BoundingBox": bounding_box(source.box), "Confidence": source.confidence},
        "FaceMatches": [
            {"Similarity": version.curve.similarity(cosine), "Face": face_detail(face)}
            for cosine, face in compared
            if cosine >= bar
        ],
        "UnmatchedFaces": [face_detail(face) for cosine, face in compared if cosine < bar],
    }
    return lambda connection: output


def _usable(faces: list[DetectedFace], level: str, version: FaceModelVersion) -> list[DetectedFace]:
    usable = [face for face in faces if not quality_reasons(face, level, version)]
    if not usable:
        raise InvalidParameter
    return usable
