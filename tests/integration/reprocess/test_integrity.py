"""The integrity check beside a reprocess: what is under way is no fault, what is left behind in another version is one."""

from datetime import timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import search_tables
from app.db.session import Row
from app.domain.crops import TAG
from app.services import integrity, schedules
from app.services.integrity import FINDINGS
from tests.bulk import PEOPLE, Bulk
from tests.clockwork import Clockwork
from tests.picture_server import PictureServer
from workers.schedules.run import run_some

pytestmark = pytest.mark.models

DAYS = timedelta(days=8)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small steps, so that there is much between two of them."""
    for name in ("reembedding.PAGE_FACES", "switching._CLEANED_AT_ONCE", "switching._USERS_AT_ONCE"):
        monkeypatch.setattr(f"app.services.{name}", 1)
    monkeypatch.setattr("app.services.integrity._PAGE", 2)


def check(bulk: Bulk, clockwork: Clockwork, schedule: str) -> dict[str, Any]:
    """Run a check to its end and give the findings that are not zero."""
    schedules.run_now(bulk.desk.database, bulk.desk.doorbell, bulk.account_id, schedule)
    while run_some(bulk.runtime):
        pass
    tick = clockwork.show(schedule)["LastRun"]
    assert tick["Status"] == "SUCCEEDED"
    return {name: tick["Result"][name] for name in FINDINGS if tick["Result"][name]["Count"]}


@pytest.mark.usefixtures("small")
def test_a_check_that_runs_during_a_reprocess_finds_nothing_wrong(
    bulk: Bulk,
    clockwork: Clockwork,
    portraits: dict[str, bytes],
    pictures: PictureServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ids = bulk.index_four(portraits)
    for user, names in (("44th", ("obama", "obama2")), ("46th", ("biden",))):
        bulk.call("CreateUser", CollectionId=PEOPLE, UserId=user)
        faces = [ids[name] for name in names]
        bulk.call("AssociateFaces", CollectionId=PEOPLE, UserId=user, FaceIds=faces)
    bulk.call("TagResource", ResourceArn=bulk.desk.account.caller.collection_arn(PEOPLE), Tags={TAG: "false"})
    bulk.index(pictures.put("gone", portraits["biden"]), "gone")
    pictures.put("gone", 404)  # it stays behind
    schedule, original, steps = clockwork.make(), integrity._check_page, list[bool]()

    def meanwhile(connection: Connection, collection: Row, *rest: Any) -> Any:
        steps.append(bulk.step())
        return original(connection, collection, *rest)

    monkeypatch.setattr(integrity, "_check_page", meanwhile)

    def checked_until_nothing_is_left() -> None:
        while True:
            assert check(bulk, clockwork, schedule) == {}
            if not any(steps):
                return
            steps.clear()

    bulk.start("keep-out")
    checked_until_nothing_is_left()
    assert (bulk.show()["Status"], bulk.show()["Failed"]) == ("SUCCEEDED", 1)
    bulk.index(portraits["obama3"], "new")
    assert check(bulk, clockwork, schedule) == {}
    bulk.elapse(DAYS)
    checked_until_nothing_is_left()
    assert bulk.collection().other_model is None
    bulk.reprocesses.start(bulk.account_id, PEOPLE, "1.0", "keep-out")
    checked_until_nothing_is_left()
    bulk.reprocesses.rollback(bulk.account_id, PEOPLE)
    bulk.elapse(DAYS)
    checked_until_nothing_is_left()
    assert (bulk.collection().model, bulk.collection().other_model) == ("2.0", None)


def test_what_is_left_in_the_tables_of_another_version_is_found(
    bulk: Bulk, clockwork: Clockwork, portraits: dict[str, bytes]
) -> None:
    bulk.index(portraits["obama"], "obama")
    collection = bulk.collection()
    place = {"bucket": collection.buckets[0], "collection_id": collection.collection_id, "number": 1}
    embedding = np.ones(bulk.second.dimension, np.float32) / np.sqrt(bulk.second.dimension)
    for table in (search_tables.of_faces(bulk.second), search_tables.of_users(bulk.second)):
        bulk.desk.change(sa.insert(table).values(**place, embedding=embedding))
    found = check(bulk, clockwork, clockwork.make())
    example = {"CollectionId": PEOPLE, "FaceModelVersion": "2.0", "Number": 1}
    assert found == {
        name: {"Count": 1, "Examples": [example]} for name in ("EmbeddingsWithoutFace", "VectorsWithoutUser")
    }
