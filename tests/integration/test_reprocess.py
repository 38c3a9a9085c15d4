"""A collection moves to a second face model version, and back: what is searched before, while and after."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from app.assets import models_folder
from app.config import Settings
from app.db import face_models, schema
from app.db.session import Database
from app.domain.addresses import parse_networks
from app.domain.crops import TAG
from app.domain.face_models import FaceModelVersion
from app.local.postgres import LocalPostgres
from tests.bulk import PEOPLE, Bulk
from tests.desk import Desk
from tests.factories import SECRET_KEY
from tests.fresh import fresh_database
from tests.picture_server import PictureServer
from tests.second_model import register_second_model
from workers import runtime

pytestmark = pytest.mark.models

DAYS = timedelta(days=8)
MINUTES = timedelta(minutes=2)


@pytest.fixture(scope="module")
def database(postgres: LocalPostgres) -> Iterator[Database]:
    """A database of its own: a registered version has tables that the migrations do not make."""
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url, pool_size=16)
        yield database
        database.close()


@pytest.fixture(scope="module")
def own(settings: Settings, database: Database, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(
        database_url=database.url,
        redis_url="redis+socket:///nowhere",
        secret_key=SECRET_KEY,
        dial_allow=parse_networks(["127.0.0.0/8"]),
        models_dir=settings.models_dir or models_folder(settings),
        cache_dir=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="module")
def second(database: Database, own: Settings, tmp_path_factory: pytest.TempPathFactory) -> FaceModelVersion:
    return register_second_model(database, own, tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="module")
def worker(own: Settings, celery: Celery) -> Iterator[runtime.Runtime]:
    """One worker for all tests of this module: models take a moment to load."""
    runtime.open_runtime(own, celery)
    yield runtime.current()
    runtime.current().database.close()


@pytest.fixture
def bulk(desk: Desk, worker: runtime.Runtime, second: FaceModelVersion) -> Bulk:
    desk.change(sa.delete(schema.reprocesses))
    bulk = Bulk(desk, worker, second)
    bulk.call("CreateCollection", CollectionId=PEOPLE, Tags={TAG: "true"})
    return bulk


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with PictureServer() as server:
        yield server


def index_four(bulk: Bulk, portraits: dict[str, bytes]) -> dict[str, str]:
    """Index three pictures of one person and one of another; give their FaceIds."""
    return {name: bulk.index(portraits[name], name)[0] for name in ("obama", "obama2", "obama3", "biden")}


def make_fresh(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    """Make a collection that had the second version from the beginning, with the same pictures."""
    with bulk.desk.database.transaction() as connection:
        face_models.set_default(connection, bulk.second)
    assert bulk.call("CreateCollection", CollectionId="fresh")["FaceModelVersion"] == "2.0"
    with bulk.desk.database.transaction() as connection:
        face_models.set_default(connection, face_models.get(connection, "1.0"))
    for name in ("obama", "obama2", "obama3", "biden"):
        bulk.index(portraits[name], name, "fresh")


def said(answer: dict[str, Any]) -> list[tuple[str, float, str]]:
    """What an answer says without ids."""
    return [
        (match["Face"]["ExternalImageId"], match["Similarity"], match["Face"]["IndexFacesModelVersion"])
        for match in answer["FaceMatches"]
    ]


def test_after_the_switch_answers_are_those_of_a_fresh_collection(bulk: Bulk, portraits: dict[str, bytes]) -> None:
    ids = index_four(bulk, portraits)
    before = bulk.search(portraits["obama"])
    started = bulk.start()
    assert (started["Status"], started["Progress"]) == ("IN_PROGRESS", {"Done": 0, "Total": 4})
    assert bulk.search(portraits["obama"]) == before
    bulk.work()
    shown = bulk.show()
    assert (shown["Status"], shown["Progress"], shown["Failed"]) == ("SUCCEEDED", {"Done": 4, "Total": 4}, 0)
    assert bulk.call("DescribeCollection", CollectionId=PEOPLE)["FaceModelVersion"] == "2.0"
    make_fresh(bulk, portraits)
    for name in ("obama", "biden"):
        after = bulk.search(portraits[name])
        assert after["FaceModelVersion"] == "2.0"
        assert said(after) == said(bulk.search(portraits[name], "fresh"))
        assert {match["Face"]["FaceId"] for match in after["FaceMatches"]} == set(ids.values())
    assert said(bulk.search(portraits["obama"])) != said(before)
