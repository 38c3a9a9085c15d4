"""SearchFacesByImage: find the faces of a collection that look like the largest face of an image."""

from app.domain.face_documents import bounding_box
from app.domain.face_models import VERSIONS
from app.domain.faces import quality_reasons
from app.domain.jobs import Claim
from app.errors import InvalidParameter
from app.services import collections, faces
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime

NO_FACE = "There are no faces in the image. Should be at least 1."


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image, search, and give the answer to store."""
    request = claim.input
    with runtime.database.statement() as connection:
        collection = collections.get(connection, claim.account_id, request["CollectionId"])
    image = look(claim, "Image", runtime)
    if not image.faces:
        raise InvalidParameter(NO_FACE)
    largest = image.faces[0]
    if quality_reasons(largest, request.get("QualityFilter", "NONE"), VERSIONS[collection.model]):
        raise InvalidParameter(NO_FACE)  # AWS: a face below the filter «isn't searched for»
    with runtime.database.transaction() as connection:
        collection = collections.get(connection, claim.account_id, request["CollectionId"])
        matches = faces.search(
            connection,
            collection,
            largest.embedding,
            threshold=request.get("FaceMatchThreshold", faces.DEFAULT_THRESHOLD),
            max_faces=request.get("MaxFaces", faces.MAX_MATCHES),
        )
    output = {
        "SearchedFaceBoundingBox": bounding_box(largest.box),
        "SearchedFaceConfidence": largest.confidence,
        "FaceMatches": matches,
        "FaceModelVersion": collection.model,
    }
    return lambda connection: output
