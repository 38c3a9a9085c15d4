"""What tests of reprocessing begin with: a database that knows a second version, a worker, an empty collection."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from celery import Celery

from app.assets import models_folder
from app.config import Settings
from app.db import schema
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
from tests.s3 import S3Server
from tests.second_model import register_second_model
from tests.vision.pictures import side_by_side
from workers import runtime


@pytest.fixture(scope="package")
def database(postgres: LocalPostgres) -> Iterator[Database]:
    """A database of its own: a registered version has tables that the migrations do not make."""
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url, pool_size=16)
        yield database
        database.close()


@pytest.fixture(scope="package")
def own(
    settings: Settings, database: Database, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Settings:
    return Settings(
        database_url=database.url,
        redis_url="redis+socket:///nowhere",
        secret_key=SECRET_KEY,
        dial_allow=parse_networks(["127.0.0.0/8"]),
        models_dir=settings.models_dir or models_folder(settings),
        cache_dir=tmp_path_factory.mktemp("cache"),
        s3_endpoint_url=s3_server.endpoint_url,
        s3_access_key_id=s3_server.access_key_id,
        s3_secret_access_key=s3_server.secret_access_key,
    )


@pytest.fixture(scope="package")
def second(database: Database, own: Settings, tmp_path_factory: pytest.TempPathFactory) -> FaceModelVersion:
    return register_second_model(database, own, tmp_path_factory.mktemp("second"))


@pytest.fixture(scope="package")
def third(database: Database, own: Settings, tmp_path_factory: pytest.TempPathFactory) -> FaceModelVersion:
    return register_second_model(database, own, tmp_path_factory.mktemp("third"), "3.0")


@pytest.fixture(scope="package")
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


@pytest.fixture(scope="package")
def group(portraits: dict[str, bytes]) -> bytes:
    return side_by_side(*(portraits[name] for name in ("biden", "obama", "obama2")), heights=(500, 1100, 700))


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    with PictureServer() as server:
        yield server
