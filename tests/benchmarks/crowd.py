"""A collection of real faces among many made-up ones."""

import uuid
from typing import Any

import numpy as np

from app.db import collections, faces
from app.db.session import Database
from app.domain.face_models import NEWEST, VERSIONS
from tests.live import LiveStack


def fill(live: LiveStack, name: str, portraits: dict[str, bytes], count: int) -> None:
    """Index every portrait twice, under two names, and add random faces up to `count`."""
    rekognition = live.rekognition()
    rekognition.create_collection(CollectionId=name)
    for person, picture in portraits.items():
        for again in ("a", "b"):
            rekognition.index_faces(CollectionId=name, Image={"Bytes": picture}, ExternalImageId=f"{person}-{again}")
    database = Database(live.database_url, pool_size=1)
    with database.transaction() as connection:
        (account_id,) = live.query("SELECT account_id FROM accounts")[0]
        collection = collections.lock_for_writing(connection, account_id, name)
        assert collection is not None
        missing = count - collection.live_faces
        faces.insert(connection, collection, [_made_up(number) for number in range(missing)])
        collections.add_faces(connection, collection.collection_id, missing, numbers_used=missing)
    database.close()


def _made_up(number: int) -> dict[str, Any]:
    embedding = np.random.default_rng(number).normal(size=VERSIONS[NEWEST.version].dimension).astype("<f4")
    embedding /= np.linalg.norm(embedding)
    return {
        "face_id": uuid.uuid4(),
        "image_id": uuid.uuid4(),
        "external_image_id": f"nobody-{number}",
        "bbox": [0.25, 0.25, 0.5, 0.5],
        "confidence": 99.0,
        "quality": 10.0,
        "details": {},
        "source": None,
        "emb32": embedding.tobytes(),
    }
