"""Put faces into a collection, search it, list and delete them.

Invariant: a search meets only embeddings of the collection's own face model version, and what a transaction indexed is found
by every search after it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, face_crops, face_models, faces, second_versions
from app.db.session import Row
from app.db.vectors import Hit
from app.domain import crops, pagination
from app.domain.caller import Caller
from app.domain.face_documents import bounding_box, face_detail, unindexed_face
from app.domain.face_models import NEWEST
from app.domain.faces import BoundingBox, DetectedFace, RejectedFace, iou
from app.errors import CollectionNotFound, FaceModelChanged, InvalidParameter
from app.services.collections import Document
from app.services.collections import get as get_collection

DEFAULT_THRESHOLD = 80.0
MAX_MATCHES = 4096
_DEFAULT_PAGE = 1000

#: Two boxes of one picture that overlap this much are the same face: the picture was indexed before.
_SAME_FACE_IOU = 0.9


@dataclass(frozen=True, slots=True)
class IndexedImage:
    """What the vision part found in an image that is to be indexed."""

    image_id: uuid.UUID
    external_image_id: str | None
    chosen: list[DetectedFace]
    rejected: list[RejectedFace]
    source: Document | None
    model: str = NEWEST.version  #: the version of the faces' own embeddings
    others: Mapping[str, list[bytes]] = field(default_factory=dict)  #: the chosen faces' embeddings in other versions
    crops: list[bytes] = field(default_factory=list)  #: PNG files of the chosen faces; none: not to be kept

    def embeddings(self, version: str) -> list[bytes]:
        """Give the chosen faces' embeddings in a version, or raise FaceModelChanged where they were not made."""
        found = [face.embedding for face in self.chosen] if version == self.model else self.others.get(version)
        if found is None:
            raise FaceModelChanged
        return found


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


def index(connection: Connection, account_id: int, collection_id: str, image: IndexedImage) -> Document:
    """Store the chosen faces of an image, those that the collection has of it already excepted."""
    collection = collections.lock_for_writing(connection, account_id, collection_id)
    if collection is None:
        raise CollectionNotFound(collection_id)
    known = faces.of_image(connection, collection, image.image_id, image.external_image_id)
    found = [_known(face, known) for face in image.chosen]
    _store(connection, collection, image, [place for place, row in enumerate(found) if row is None])
    _take_along(connection, collection, image, found)
    stored = faces.of_image(connection, collection, image.image_id, image.external_image_id)
    return {
        "FaceRecords": [_record(face, stored) for face in image.chosen],
        "FaceModelVersion": collection.model,
        "UnindexedFaces": [unindexed_face(rejected) for rejected in image.rejected],
    }


def _store(connection: Connection, collection: Row, image: IndexedImage, places: list[int]) -> None:
    """Store some of the chosen faces: in the version that is searched, and in the other one while both are kept up."""
    at_home = image.embeddings(collection.model)
    beside = image.embeddings(collection.other_model) if collection.indexes_other else None
    if not places:
        return
    rows = [{**_values(image.chosen[place], image), "emb32": at_home[place]} for place in places]
    numbers = faces.insert(connection, collection, rows)
    collections.add_faces(connection, collection.collection_id, len(numbers), numbers_used=len(numbers))
    if beside is not None:
        other = face_models.get(connection, collection.other_model)
        numbered = zip(numbers, (beside[place] for place in places), strict=True)
        second_versions.insert_faces(connection, collection, other, numbered)
    # Whoever switched keeping off meanwhile wants no more of them.
    if image.crops and crops.wanted(collection.tags, default=True):
        kept = zip(numbers, (image.crops[place] for place in places), strict=True)
        face_crops.insert(connection, collection.collection_id, kept)


def _take_along(connection: Connection, collection: Row, image: IndexedImage, found: list[Row | None]) -> None:
    """Let faces that stayed behind in another version be found again, now that their picture has come once more."""
    for row, embedding in zip(found, image.embeddings(collection.model), strict=True):
        if row is not None and row.model != collection.model:
            version = face_models.get(connection, collection.model)
            second_versions.take_along(connection, collection, version, row.face_no, embedding)


def _known(face: DetectedFace, rows: list[Row]) -> Row | None:
    overlaps = [(iou(face.box, BoundingBox(*row.bbox)), row) for row in rows]
    best = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= _SAME_FACE_IOU else None


def _record(face: DetectedFace, stored: list[Row]) -> Document:
    row = _known(face, stored)
    if row is None:
        raise RuntimeError("an indexed face is missing in its own transaction")
    return {"Face": face_document(row), "FaceDetail": face_detail(face)}


def _values(face: DetectedFace, image: IndexedImage) -> dict[str, Any]:
    return {
        "face_id": uuid.uuid4(),
        "image_id": image.image_id,
        "external_image_id": image.external_image_id,
        "bbox": [face.box.left, face.box.top, face.box.width, face.box.height],
        "confidence": face.confidence,
        "quality": face.measures.embedding_norm,
        "details": {
            "landmarks": asdict(face.landmarks),
            "pose": asdict(face.pose),
            "measures": asdict(face.measures),
        },
        "source": image.source,
    }


def search(
    connection: Connection, collection: Row, embedding: bytes, *, threshold: float, max_faces: int
) -> list[Document]:
    """List FaceMatches with a similarity of at least the threshold, best first."""
    curve = face_models.get(connection, collection.model).curve
    hits = faces.nearest(connection, collection, embedding, min_cosine=curve.cosine(threshold), limit=max_faces)
    return [_match(hit, curve.similarity(hit.cosine)) for hit in hits]


def _match(hit: Hit, similarity: float) -> Document:
    return {"Similarity": similarity, "Face": face_document(hit.row)}


def search_faces(connection: Connection, caller: Caller, request: Document) -> Document:
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
        else search(connection, collection, bytes(row.emb32), threshold=threshold, max_faces=max_faces + 1)
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
