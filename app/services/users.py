"""Users: several faces of one person under one id, searched by one vector.

A user's vector is the spherical mean of its faces' embeddings (`domain.embeddings.mean` says why), made anew in the transaction
that changes its faces: statuses are CREATED without faces and ACTIVE with, never anything in between. Every change holds the
collection's row lock.
"""

from sqlalchemy.engine import Connection

from app.db import collections, face_models, faces, second_versions, users, vectors
from app.db.session import Row
from app.db.vectors import Hit, Scan
from app.domain import embeddings, pagination
from app.domain.caller import Caller
from app.domain.face_models import FaceModelVersion, SimilarityCurve
from app.errors import (
    CollectionNotFound,
    Conflict,
    InvalidParameter,
    ServiceQuotaExceeded,
    UserNotFound,
)
from app.services.collections import Document
from app.services.collections import get as get_collection
from app.services.request_tokens import once_per_token

MAX_FACES_PER_USER = 100
DEFAULT_ASSOCIATION_THRESHOLD = 75.0
DEFAULT_SEARCH_THRESHOLD = 80.0
_DEFAULT_PAGE = 500
_MAX_MATCHES = 500


@once_per_token
def create_user(connection: Connection, caller: Caller, request: Document) -> Document:
    """Make a user without faces."""
    collection = _lock(connection, caller, request)
    if not users.insert(connection, collection, request["UserId"]):
        raise Conflict(f"The user id: {request['UserId']} already exists")
    collections.add_users(connection, collection.collection_id, 1)
    return {}


@once_per_token
def delete_user(connection: Connection, caller: Caller, request: Document) -> Document:
    """Take a user's faces from it, then delete it; the faces stay in the collection."""
    collection = _lock(connection, caller, request)
    user = _get(connection, collection, request["UserId"])
    faces.leave_user(connection, collection.collection_id, user.user_id)
    users.delete(connection, collection, user.user_no)
    collections.add_users(connection, collection.collection_id, -1)
    return {}


def list_users(connection: Connection, caller: Caller, request: Document) -> Document:
    """List users in the order of their creation, a page at a time."""
    collection = get_collection(connection, caller.account_id, request["CollectionId"])
    size = request.get("MaxResults", _DEFAULT_PAGE)
    kind = f"users of {collection.collection_id}"
    after = pagination.read_number(request.get("NextToken"), kind)
    rows = users.list_page(connection, collection.collection_id, after=after, limit=size + 1)
    page = rows[:size]
    return {
        "Users": [user_document(row) for row in page],
        "NextToken": pagination.token(kind, str(page[-1].user_no)) if len(rows) > size else None,
    }


@once_per_token
def associate_faces(connection: Connection, caller: Caller, request: Document) -> Document:
    """Give faces to a user. The threshold counts only where the user has a face already; its own faces are ignored."""
    collection, user, wanted = _lock_faces(connection, caller, request)
    curve = face_models.get(connection, collection.model).curve
    threshold = request.get("UserMatchThreshold", DEFAULT_ASSOCIATION_THRESHOLD)
    accepted: list[str] = []
    refused: list[Document] = []
    for face_id, face in wanted.items():
        refusal = _foreign(face_id, face, user) or _unlike(face_id, face, user, curve, threshold)
        if refusal is not None:
            refused.append(refusal)
        elif face is not None and face.user_id is None:
            accepted.append(face_id)
    status = user.status
    if accepted:
        known = faces.embeddings_of_user(connection, collection, user.user_id)
        if len(known) + len(accepted) > MAX_FACES_PER_USER:
            raise ServiceQuotaExceeded(f"A user can have at most {MAX_FACES_PER_USER} faces.")
        faces.set_user(connection, collection.collection_id, accepted, user.user_id)
        status = _remake_vector(connection, collection, user)
    return {
        "AssociatedFaces": [{"FaceId": face_id} for face_id in accepted],
        "UnsuccessfulFaceAssociations": refused,
        "UserStatus": status,
    }


@once_per_token
def disassociate_faces(connection: Connection, caller: Caller, request: Document) -> Document:
    """Take faces from a user; faces that belong to nobody are ignored."""
    collection, user, wanted = _lock_faces(connection, caller, request)
    failed = [failure for face_id, face in wanted.items() if (failure := _foreign(face_id, face, user))]
    taken = [face_id for face_id, face in wanted.items() if face is not None and face.user_id == user.user_id]
    status = user.status
    if taken:
        faces.set_user(connection, collection.collection_id, taken, None)
        status = _remake_vector(connection, collection, user)
    return {
        "DisassociatedFaces": [{"FaceId": face_id} for face_id in taken],
        "UnsuccessfulFaceDisassociations": failed,
        "UserStatus": status,
    }


def _lock_faces(connection: Connection, caller: Caller, request: Document) -> tuple[Row, Row, dict[str, Row | None]]:
    """Lock the collection; give it, the user, and each face that the request names once, None where there is none."""
    collection = _lock(connection, caller, request)
    user = _get(connection, collection, request["UserId"])
    found = faces.find_many(connection, collection, request["FaceIds"])
    return collection, user, {face_id: found.get(face_id) for face_id in request["FaceIds"]}


def _foreign(face_id: str, face: Row | None, user: Row) -> Document | None:
    """Say why a face is neither the user's nor free."""
    if face is None:
        return {"FaceId": face_id, "Reasons": ["FACE_NOT_FOUND"]}
    if face.user_id not in (None, user.user_id):
        return {"FaceId": face_id, "UserId": face.user_id, "Reasons": ["ASSOCIATED_TO_A_DIFFERENT_USER"]}
    return None


def _unlike(face_id: str, face: Row | None, user: Row, curve: SimilarityCurve, threshold: float) -> Document | None:
    """Say why a free face does not go with those that the user has."""
    if face is None or face.user_id is not None or face.emb32 is None or user.vec32 is None:
        return None
    cosine = embeddings.cosine(bytes(face.emb32), bytes(user.vec32))
    if cosine >= curve.cosine(threshold):
        return None
    return {"FaceId": face_id, "Confidence": curve.similarity(cosine), "Reasons": ["LOW_MATCH_CONFIDENCE"]}


def _remake_vector(connection: Connection, collection: Row, user: Row) -> str:
    held = 0
    for version in second_versions.versions(connection, collection):
        held = remake_vector(connection, collection, user, version)
    status = "ACTIVE" if held else "CREATED"
    users.set_status(connection, collection, user.user_no, status)
    return status


def remake_vector(connection: Connection, collection: Row, user: Row, version: FaceModelVersion) -> int:
    """Make a user's vector in one version anew from its faces; give how many faces it has."""
    held = faces.embeddings_of_user(connection, collection, user.user_id, version=version.version)
    embedded = [embedding for embedding in held if embedding is not None]
    vector = embeddings.mean(embedded) if embedded else None
    second_versions.set_user_vector(connection, collection, user.user_no, version, vector)
    return len(held)


def search_users(connection: Connection, caller: Caller, request: Document, *, scan: Scan = vectors.scan) -> Document:
    """Search users with a user or with a face of the collection; the searched user is not in the answer."""
    collection = get_collection(connection, caller.account_id, request["CollectionId"])
    user_id, face_id = request.get("UserId"), request.get("FaceId")
    if (user_id is None) == (face_id is None):
        raise InvalidParameter
    limit = request.get("MaxUsers", _MAX_MATCHES)
    threshold = request.get("UserMatchThreshold", DEFAULT_SEARCH_THRESHOLD)
    if user_id is not None:
        vector = _get(connection, collection, user_id).vec32
        searched: Document = {"SearchedUser": {"UserId": user_id}}
    else:
        face = faces.find(connection, collection, str(face_id))
        if face is None:
            raise InvalidParameter("faceId was not found in the collection.")
        vector = face.emb32
        searched = {"SearchedFace": {"FaceId": face_id}}
    hits = [] if vector is None else search(connection, collection, bytes(vector), threshold, limit + 1, scan)
    others = [match for match in hits if match["User"]["UserId"] != user_id]
    return {"UserMatches": others[:limit], "FaceModelVersion": collection.model, **searched}


def search(
    connection: Connection,
    collection: Row,
    vector: bytes,
    threshold: float,
    limit: int,
    scan: Scan = vectors.scan,
) -> list[Document]:
    """List UserMatches with a similarity of at least the threshold, best first."""
    curve = face_models.get(connection, collection.model).curve
    hits = users.nearest(connection, collection, vector, min_cosine=curve.cosine(threshold), limit=limit, scan=scan)
    return [_match(hit, curve.similarity(hit.cosine)) for hit in hits]


def _match(hit: Hit, similarity: float) -> Document:
    return {"Similarity": similarity, "User": user_document(hit.row)}


def user_document(row: Row) -> Document:
    """Render a user."""
    return {"UserId": row.user_id, "UserStatus": row.status}


def _lock(connection: Connection, caller: Caller, request: Document) -> Row:
    name = request["CollectionId"]
    collection = collections.lock_for_writing(connection, caller.account_id, name)
    if collection is None:
        raise CollectionNotFound(name)
    return collection


def _get(connection: Connection, collection: Row, user_id: str) -> Row:
    user = users.find(connection, collection, user_id)
    if user is None:
        raise UserNotFound(user_id)
    return user
