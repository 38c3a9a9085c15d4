"""SearchUsersByImage: find the users of a collection that look like the largest face of an image.

Unlike SearchFacesByImage, an image without a face is a normal answer, and the faces that were not searched are named.
"""

from typing import Any

from app.db import face_models
from app.domain.face_documents import face_detail
from app.domain.faces import quality_reasons
from app.domain.jobs import Claim
from app.services import collections, users
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime

_MAX_USERS = 500


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
    faces = look(claim, "Image", runtime, version).faces
    level = request.get("QualityFilter", "NONE")
    reasons = [quality_reasons(face, level, version) for face in faces]
    largest = faces[0] if faces and not reasons[0] else None
    output: dict[str, Any] = {"UserMatches": [], "FaceModelVersion": collection.model}
    if largest is not None:
        output["SearchedFace"] = {"FaceDetail": face_detail(largest)}
        with runtime.database.transaction() as connection:
            collection = collections.get(connection, claim.account_id, request["CollectionId"])
            if collection.model != version.version:
                return None
            threshold = request.get("UserMatchThreshold", users.DEFAULT_SEARCH_THRESHOLD)
            limit = request.get("MaxUsers", _MAX_USERS)
            output["UserMatches"] = users.search(
                connection, collection, largest.embedding, threshold, limit, runtime.scan
            )
    output["UnsearchedFaces"] = [
        {"FaceDetails": face_detail(face), "Reasons": list(why or ("FACE_NOT_LARGEST",))}
        for face, why in zip(faces, reasons, strict=True)
        if face is not largest
    ]
    return output
