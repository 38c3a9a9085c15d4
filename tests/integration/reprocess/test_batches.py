"""A batch that indexes into a collection while that begins to move to another version: who came too early looks again."""

from typing import Any

import pytest
import sqlalchemy as sa

from app.db import schema
from app.domain.batches import BatchStatus, NewItem
from app.domain.face_models import FaceModelVersion
from app.domain.jobs import RETRY_PAUSES
from app.services import batches
from app.services.batches import NewBatch
from tests.bulk import PEOPLE, Bulk
from tests.integration.test_batch_items import BatchDesk
from tests.picture_server import PictureServer
from workers.bulk import chunk as chunks
from workers.collection_cache import CollectionCache

pytestmark = pytest.mark.models


@pytest.mark.parametrize(
    ("seconds", "third", "versions"),
    [(2.0, "SUCCEEDED", ["1.0", "1.0", "1.0", "2.0"]), (0.0, "QUEUED", ["1.0", "1.0", "1.0"])],
    ids=["read-anew", "known-of-before"],
)
def test_items_that_were_looked_at_before_the_start_are_looked_at_again(
    bulk: Bulk,
    portraits: dict[str, bytes],
    pictures: PictureServer,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    third: str,
    versions: list[str],
) -> None:
    names = ("obama", "biden", "obama2")
    items = [
        NewItem(number, name, {"Image": {"Url": pictures.put(name, portraits[name])}, "ExternalImageId": name})
        for number, name in enumerate(names, start=1)
    ]
    desk = BatchDesk(bulk.desk)
    new = NewBatch(bulk.account_id, "IndexFaces", {"CollectionId": PEOPLE})
    batch, _ = batches.submit(bulk.desk.database, bulk.desk.doorbell, new, items)
    original, looked = bulk.runtime.engines.of, list[str]()
    bulk.runtime.collection_cache = CollectionCache(lambda: seconds * len(looked))

    def of(version: FaceModelVersion) -> Any:
        looked.append(version.version)
        if len(looked) == 2:
            bulk.start()  # while the second picture is looked at
        return original(version)

    monkeypatch.setattr(bulk.runtime.engines, "of", of)
    chunks.run(desk.claim(), bulk.runtime)
    assert desk.statuses(batch) == ["QUEUED", "QUEUED", third]
    assert (looked, [row["crashes"] for row in desk.rows(batch)]) == (versions, [0, 0, 0])
    past = schema.batch_items.c.available_at - RETRY_PAUSES[0]
    bulk.desk.change(sa.update(schema.batch_items).values(available_at=past))
    bulk.runtime.collection_cache = CollectionCache()
    chunks.run(desk.claim(), bulk.runtime)
    ended = desk.get(batch)
    assert (ended.status, ended.succeeded, ended.failed) == (BatchStatus.SUCCEEDED, 3, 0)
    assert [row["model"] for row in bulk.rows(schema.face_embeddings)] == ["2.0"] * 3
    bulk.work()
    assert len(bulk.search(portraits["obama"])["FaceMatches"]) == 3
