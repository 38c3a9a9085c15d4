"""CompareFaces: the largest face of one image against all faces of another; nothing is stored."""

from app.domain import embeddings
from app.domain.face_documents import bounding_box, face_detail
from app.domain.face_models import NEWEST
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
    bar = NEWEST.curve.cosine(claim.input.get("SimilarityThreshold", DEFAULT_THRESHOLD))
    source = _usable(look(claim, "SourceImage", runtime).faces[:1], level)[0]
    targets = _usable(look(claim, "TargetImage", runtime).faces, level)
    compared = [(embeddings.cosine(source.embedding, target.embedding), target) for target in targets]
    compared.sort(key=lambda pair: pair[0], reverse=True)
    output = {
        "SourceImageFace": {"BoundingBox": bounding_box(source.box), "Confidence": source.confidence},
        "FaceMatches": [
            {"Similarity": NEWEST.curve.similarity(cosine), "Face": face_detail(face)}
            for cosine, face in compared
            if cosine >= bar
        ],
        "UnmatchedFaces": [face_detail(face) for cosine, face in compared if cosine < bar],
    }
    return lambda connection: output


def _usable(faces: list[DetectedFace], level: str) -> list[DetectedFace]:
    usable = [face for face in faces if not quality_reasons(face, level, NEWEST)]
    if not usable:
        raise InvalidParameter
    return usable
