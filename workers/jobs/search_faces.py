"""SearchFacesByImage: find the faces of a collection that look like the largest face of an image."""

from typing import Any

from app.db import face_models
from app.domain.face_documents import bounding_box
from app.domain.faces import quality_reasons
from app.domain.jobs import Claim
from app.errors import InvalidParameter
from app.services import collections, faces
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime

NO_FACE = "There are no faces in the image. Should be at least 1."


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image, search, and give the answer to store; once more where the collection's version has changed."""
    while (output := _search(claim, runtime)) is None:
        pass
    return lambda connection: output


def _search(claim: Claim, runtime: Runtime) -> dict[str, Any] | None:
    request = claim.input
    with runtime.database.statement() as connection:
        collection = collections.get(connection, claim.account_id, request["CollectionId"])
        version = face_models.get(connection, collection.model)
    image = look(claim, "Image", runtime, version)
    if not image.faces:
        raise InvalidParameter(NO_FACE)
    largest = image.faces[0]
    if quality_reasons(largest, request.get("QualityFilter", "NONE"), version):
        raise InvalidParameter(NO_FACE)  # AWS: a face below the filter «isn't searched for»
    with runtime.database.transaction() as connection:
        collection = collections.get(connection, claim.account_id, request["CollectionId"])
        if collection.model != version.version:
            return None
        matches = faces.search(
            connection,
            collection,
            largest.embedding,
            threshold=request.get("FaceMatchThreshold", faces.DEFAULT_THRESHOLD),
            max_faces=request.get("MaxFaces", faces.MAX_MATCHES),
            scan=runtime.scan,
        )
    return {
        "SearchedFaceBoundingBox": bounding_box(largest.box),
        "SearchedFaceConfidence": largest.confidence,
        "FaceMatches": matches,
        "FaceModelVersion": collection.model,
    }
