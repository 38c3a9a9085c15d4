"""Search the faces of a collection, list and delete them.

Invariant: a search meets only embeddings of the collection's own face model version, and what a transaction indexed is found
by every search after it.
"""

from sqlalchemy.engine import Connection

from app.db import approximate, collections, face_models, faces
from app.db.session import Row
from app.db.vectors import Hit, Scan
from app.domain import pagination
from app.domain.caller import Caller
from app.domain.face_documents import bounding_box
from app.domain.faces import BoundingBox
from app.errors import CollectionNotFound, InvalidParameter
from app.services.collections import Document
from app.services.collections import get as get_collection

DEFAULT_THRESHOLD = 80.0
MAX_MATCHES = 4096
_DEFAULT_PAGE = 1000


def face_document(row: Row) -> Document:
    """Render a stored face as AWS's Face."""
    left, top, width, height = row.bbox
    return {
        "FaceId": str(row.face_id),
        "BoundingBox": bounding_box(BoundingBox(left, top, width, height)),
        "ImageId": str(row.image_id),
        "ExternalImageId": row.external_image_id,
        "Confidence": row.confidence,
        "IndexFacesModelVersion": row.model,
        "UserId": row.user_id,
    }


def search(
    connection: Connection,
    collection: Row,
    embedding: bytes,
    *,
    threshold: float,
    max_faces: int,
    scan: Scan = approximate.scan_as_asked,
) -> list[Document]:
    """List FaceMatches with a similarity of at least the threshold, best first."""
    curve = face_models.get(connection, collection.model).curve
    bar = curve.cosine(threshold)
    hits = faces.nearest(connection, collection, embedding, min_cosine=bar, limit=max_faces, scan=scan)
    return [_match(hit, curve.similarity(hit.cosine)) for hit in hits]


def _match(hit: Hit, similarity: float) -> Document:
    return {"Similarity": similarity, "Face": face_document(hit.row)}


def search_faces(
    connection: Connection, caller: Caller, request: Document, *, scan: Scan = approximate.scan_as_asked
) -> Document:
    """Search with a face of the collection; the face itself is not in the answer."""
    collection = get_collection(connection, caller.account_id, request["CollectionId"])
    face_id = request["FaceId"]
    row = faces.find(connection, collection, face_id)
    if row is None:
        raise InvalidParameter("faceId was not found in the collection.")
    max_faces = request.get("MaxFaces", MAX_MATCHES)
    threshold = request.get("FaceMatchThreshold", DEFAULT_THRESHOLD)
    # A face that was not taken along into this version looks like nobody.
    matches = (
        []
        if row.emb32 is None
        else search(connection, collection, bytes(row.emb32), threshold=threshold, max_faces=max_faces + 1, scan=scan)
    )
    others = [match for match in matches if match["Face"]["FaceId"] != face_id]
    return {"SearchedFaceId": face_id, "FaceMatches": others[:max_faces], "FaceModelVersion": collection.model}


def list_faces(connection: Connection, caller: Caller, request: Document) -> Document:
    """List faces by FaceId, a page at a time."""
    collection = get_collection(connection, caller.account_id, request["CollectionId"])
    size = request.get("MaxResults") or _DEFAULT_PAGE
    kind = f"faces of {collection.collection_id}"
    after = pagination.read_uuid(request.get("NextToken"), kind)
    rows = faces.list_page(
        connection,
        collection,
        after=after,
        limit=size + 1,
        face_ids=request.get("FaceIds"),
        user_id=request.get("UserId"),
    )
    page = rows[:size]
    return {
        "Faces": [face_document(row) for row in page],
        "NextToken": pagination.token(kind, str(page[-1].face_id)) if len(rows) > size else None,
        "FaceModelVersion": collection.model,
    }


def delete_faces(connection: Connection, caller: Caller, request: Document) -> Document:
    """Delete faces; ids that the collection does not hold, or that belong to a user, are named, and are no error."""
    name = request["CollectionId"]
    collection = collections.lock_for_writing(connection, caller.account_id, name)
    if collection is None:
        raise CollectionNotFound(name)
    wanted = list(dict.fromkeys(request["FaceIds"]))
    owners = faces.owners(connection, collection.collection_id, wanted)
    gone = set(faces.delete(connection, collection, [face_id for face_id in wanted if face_id not in owners]))
    collections.add_faces(connection, collection.collection_id, -len(gone))
    failed: list[Document] = []
    for face_id in wanted:
        if face_id in owners:
            reasons = ["ASSOCIATED_TO_AN_EXISTING_USER"]
            failed.append({"FaceId": face_id, "UserId": owners[face_id], "Reasons": reasons})
        elif face_id not in gone:
            failed.append({"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]})
    return {
        "DeletedFaces": [face_id for face_id in wanted if face_id in gone],
        "UnsuccessfulFaceDeletions": failed,
    }
