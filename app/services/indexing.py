"""Put the faces of images into a collection: of one image, or of many that a batch ends together.

Invariant: an image that comes again under the same ExternalImageId stores nothing twice, and what a transaction indexed is
found by every search after it, in the face model version that the collection has then.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, face_crops, face_models, faces, reprocesses, second_versions, users
from app.db.session import Row
from app.domain import crops
from app.domain.face_documents import face_detail, unindexed_face
from app.domain.face_models import NEWEST
from app.domain.faces import BoundingBox, DetectedFace, RejectedFace, iou
from app.errors import CollectionNotFound, FaceModelChanged
from app.services.collections import Document
from app.services.faces import face_document
from app.services.users import remake_vector

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

    @property
    def key(self) -> tuple[uuid.UUID, str | None]:
        """What makes it the same image when it comes again."""
        return self.image_id, self.external_image_id

    def embeddings(self, version: str) -> list[bytes]:
        """Give the chosen faces' embeddings in a version, or raise FaceModelChanged where they were not made."""
        found = [face.embedding for face in self.chosen] if version == self.model else self.others.get(version)
        if found is None:
            raise FaceModelChanged
        return found


@dataclass(frozen=True, slots=True)
class Indexing:
    """The writes that complete one IndexFaces; `index_all` does those of several together."""

    account_id: int
    collection_id: str
    image: IndexedImage

    def __call__(self, connection: Connection) -> Document:
        """Do them for this image alone."""
        return index(connection, self.account_id, self.collection_id, self.image)


def index(connection: Connection, account_id: int, collection_id: str, image: IndexedImage) -> Document:
    """Store the chosen faces of an image, those that the collection has of it already excepted."""
    (document,) = index_all(connection, account_id, collection_id, [image])
    return document


def index_all(
    connection: Connection, account_id: int, collection_id: str, images: Sequence[IndexedImage]
) -> list[Document]:
    """Store the chosen faces of different images under one lock of the collection, in as many statements as for one."""
    collection = collections.lock_for_writing(connection, account_id, collection_id)
    if collection is None:
        raise CollectionNotFound(collection_id)
    keys = [image.key for image in images]
    known = faces.of_images(connection, collection, keys)
    new: list[_Place] = []
    for image in images:
        found = [_known(face, known.get(image.key, [])) for face in image.chosen]
        new += [_Place(image, place) for place, row in enumerate(found) if row is None]
        _take_along(connection, collection, image, found)
    _store(connection, collection, new)
    stored = faces.of_images(connection, collection, keys)
    return [_document(collection, image, stored.get(image.key, [])) for image in images]


@dataclass(frozen=True, slots=True)
class _Place:
    """One of the chosen faces of an image."""

    image: IndexedImage
    place: int

    def embedding(self, version: str) -> bytes:
        return self.image.embeddings(version)[self.place]


def _store(connection: Connection, collection: Row, new: Sequence[_Place]) -> None:
    """Store faces: in the version that is searched, and in the other one while both are kept up."""
    rows = [{**_values(one), "emb32": one.embedding(collection.model)} for one in new]
    beside = [one.embedding(collection.other_model) for one in new] if collection.indexes_other else []
    if not rows:
        return
    numbers = faces.insert(connection, collection, rows)
    collections.add_faces(connection, collection.collection_id, len(numbers), numbers_used=len(numbers))
    if beside:
        other = face_models.get(connection, collection.other_model)
        second_versions.insert_faces(connection, collection, other, zip(numbers, beside, strict=True))
    # Whoever switched keeping off meanwhile wants no more of them.
    if crops.wanted(collection.tags, default=True):
        made = zip(numbers, new, strict=True)
        kept = [(number, one.image.crops[one.place]) for number, one in made if one.image.crops]
        face_crops.insert(connection, collection.collection_id, kept)


def _take_along(connection: Connection, collection: Row, image: IndexedImage, found: list[Row | None]) -> None:
    """Let faces that stayed behind in another version be found again, and their users, now that their picture came again."""
    for row, embedding in zip(found, image.embeddings(collection.model), strict=True):
        if row is None or row.model == collection.model:
            continue
        version = face_models.get(connection, collection.model)
        second_versions.take_along(connection, collection, version, row.face_no, embedding)
        reprocesses.forget_failures(connection, collection.collection_id, [row.face_no], version=collection.model)
        user = None if row.user_id is None else users.find(connection, collection, row.user_id)
        if user is not None:
            remake_vector(connection, collection, user, version)


def _known(face: DetectedFace, rows: list[Row]) -> Row | None:
    overlaps = [(iou(face.box, BoundingBox(*row.bbox)), row) for row in rows]
    best = max(overlaps, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= _SAME_FACE_IOU else None


def _record(face: DetectedFace, stored: list[Row]) -> Document:
    row = _known(face, stored)
    if row is None:
        raise RuntimeError("an indexed face is missing in its own transaction")
    return {"Face": face_document(row), "FaceDetail": face_detail(face)}


def _document(collection: Row, image: IndexedImage, stored: list[Row]) -> Document:
    return {
        "FaceRecords": [_record(face, stored) for face in image.chosen],
        "FaceModelVersion": collection.model,
        "UnindexedFaces": [unindexed_face(rejected) for rejected in image.rejected],
    }


def _values(one: _Place) -> dict[str, Any]:
    image, face = one.image, one.image.chosen[one.place]
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
