"""Make what tests begin with: accounts, collections, submissions, unit embeddings, faces."""

import uuid
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from app.db import accounts, collections, faces, schema
from app.db.session import Database, Row
from app.domain.caller import Caller
from app.domain.face_models import NEWEST
from app.domain.faces import BoundingBox, DetectedFace, Landmarks, Measures, Pose
from app.encryption import Cipher
from app.services import access_keys
from app.services.access_keys import NewKey
from app.services.endpoints import Endpoints
from app.services.indexing import IndexedImage
from app.services.jobs import Submission

SECRET_KEY = bytes(range(32))
CIPHER = Cipher(SECRET_KEY)
IMAGE = b"\xff\xd8 the bytes of a picture"

Embeddings = NDArray[np.float32]


@dataclass(frozen=True)
class Account:
    """An account of its own, with its first key."""

    account_id: int
    name: str
    key: NewKey

    @property
    def caller(self) -> Caller:
        return Caller(self.account_id, "us-east-1", self.key.access_key_id)


def make_account(database: Database) -> Account:
    name = f"account-{uuid.uuid4().hex}"
    with database.transaction() as connection:
        key = access_keys.create(connection, CIPHER, account=name)
        account_id = accounts.find_account(connection, name)
    assert account_id is not None
    return Account(account_id, name, key)


def make_collection(database: Database, account: Account, name: str = "people", *, bucket: int | None = None) -> Row:
    """Insert a collection, into a bucket of our choice if need be, and give its row."""
    with database.transaction() as connection:
        assert collections.insert(connection, account.account_id, name, NEWEST.version, {})
        if bucket is not None:
            mine = (schema.collections.c.account_id == account.account_id) & (schema.collections.c.name == name)
            connection.execute(sa.update(schema.collections).where(mine).values(buckets=[bucket]))
        row = collections.find(connection, account.account_id, name)
    assert row is not None
    return row


def move_collection(database: Database, collection: Row, bucket: int) -> None:
    """Move a collection's faces from one bucket to another at once."""
    vectors, rows = schema.face_vectors[NEWEST.version], schema.collections
    with database.transaction() as connection:
        for table, values in ((vectors, {"bucket": bucket}), (rows, {"buckets": [bucket]})):
            mine = table.c.collection_id == collection.collection_id
            connection.execute(sa.update(table).where(mine).values(**values))


def make_submission(account_id: int, **changes: Any) -> Submission:
    values: dict[str, Any] = {
        "operation": "IndexFaces",
        "input": {"CollectionId": "people", "Image": {"Bytes": IMAGE}},
    }
    return Submission(account_id, **(values | changes))


def make_endpoint(database: Database, account: Account, **settings: Any) -> tuple[uuid.UUID, str]:
    """Make a webhook endpoint and give its id and its secret; settings are columns, headers in clear."""
    document, secret = Endpoints(database, CIPHER).create(
        account.account_id, {"url": "https://example.com/endpoint", **settings}
    )
    return uuid.UUID(document["EndpointId"]), secret


def unit(vectors: NDArray[Any]) -> Embeddings:
    """Stretch rows to unit length, as the embedder does."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("<f4")


def random_embeddings(rng: np.random.Generator, count: int) -> Embeddings:
    return unit(rng.standard_normal((count, NEWEST.dimension)))


def lookalikes(rng: np.random.Generator, embedding: Embeddings, count: int, noise: float = 0.05) -> Embeddings:
    """Make embeddings near one; at a noise of 0.05 the cosine is about 0.87, the similarity above 99.99."""
    return unit(embedding + noise * rng.standard_normal((count, embedding.shape[-1])))


def make_face(embedding: Embeddings | None = None, *, place: int = 0) -> DetectedFace:
    """Make a face at one of a hundred places that do not overlap."""
    left, top = (place % 10) / 10, (place // 10) / 10
    eye, corner = (left + 0.02, top + 0.02), (left + 0.06, top + 0.06)
    return DetectedFace(
        box=BoundingBox(left, top, 0.08, 0.08),
        confidence=99.5,
        landmarks=Landmarks(eye, eye, eye, corner, corner),
        pose=Pose(1.0, 2.0, 3.0),
        measures=Measures(50.0, 90.0, 128.0, 0.2, 120.0, 0.95, 12.5),
        embedding=(random_embeddings(np.random.default_rng(place), 1)[0] if embedding is None else embedding).tobytes(),
    )


def make_image(*chosen: DetectedFace, external: str | None = None, image: str = "image", **rest: Any) -> IndexedImage:
    """Make what a worker saw in a picture; equal names mean equal bytes."""
    image_id = uuid.uuid5(uuid.NAMESPACE_URL, image)
    return IndexedImage(image_id, external, list(chosen), rest.get("rejected", []), rest.get("source"))


def store_embeddings(database: Database, account: Account, name: str, embeddings: Embeddings) -> list[str]:
    """Put one face for each embedding into a collection and give their ids in the same order."""
    rows = [
        {
            "face_id": uuid.uuid4(),
            "image_id": uuid.uuid4(),
            "external_image_id": None,
            "bbox": [0.1, 0.1, 0.2, 0.2],
            "confidence": 99.5,
            "quality": 12.5,
            "details": {},
            "source": None,
            "emb32": embedding.tobytes(),
        }
        for embedding in embeddings
    ]
    with database.transaction() as connection:
        collection = collections.lock_for_writing(connection, account.account_id, name)
        assert collection is not None
        faces.insert(connection, collection, rows)
        collections.add_faces(connection, collection.collection_id, len(rows), numbers_used=len(rows))
    return [str(row["face_id"]) for row in rows]
