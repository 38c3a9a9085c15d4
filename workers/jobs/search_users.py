"""SearchUsersByImage: find the users of a collection that look like the largest face of an image.

Unlike SearchFacesByImage, an image without a face is a normal answer, and the faces that were not searched are named.
"""

from typing import Any

from app.domain.face_documents import face_detail
from app.domain.face_models import VERSIONS
from app.domain.faces import DetectedFace, quality_reasons
from app.domain.jobs import Claim
from app.services import collections, users
from app.services.outcomes import Complete
from workers.jobs.image import look
from workers.runtime import Runtime

_MAX_USERS = 500


def run(claim: Claim, runtime: Runtime) -> Complete:
    """Look at the image, search, and give the answer to store."""
    request = claim.input
    with runtime.database.statement() as connection:
        collection = collections.get(connection, claim.account_id, request["CollectionId"])
    found = look(claim, "Image", runtime).faces
    reasons = (
        quality_reasons(found[0], request.get("QualityFilter", "NONE"), VERSIONS[collection.model]) if found else ()
    )
    output: dict[str, Any] = {"UserMatches": [], "FaceModelVersion": collection.model, "UnsearchedFaces": []}
    if found and reasons:
        output["UnsearchedFaces"].append(_unsearched(found[0], reasons))
    elif found:
        output["SearchedFace"] = {"FaceDetail": face_detail(found[0])}
        with runtime.database.transaction() as connection:
            collection = collections.get(connection, claim.account_id, request["CollectionId"])
            threshold = request.get("UserMatchThreshold", users.DEFAULT_SEARCH_THRESHOLD)
            limit = request.get("MaxUsers", _MAX_USERS)
            output["UserMatches"] = users.search(connection, collection, found[0].embedding, threshold, limit)
    output["UnsearchedFaces"] += [_unsearched(face, ("FACE_NOT_LARGEST",)) for face in found[1:]]
    return lambda connection: output


def _unsearched(face: DetectedFace, reasons: tuple[str, ...]) -> dict[str, Any]:
    return {"FaceDetails": face_detail(face), "Reasons": list(reasons)}
