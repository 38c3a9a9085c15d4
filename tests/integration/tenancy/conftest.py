"""The web application and a worker in this process, on the servers of the tests."""

from collections.abc import Iterator

import pytest
from celery import Celery

from app.api.context import Context
from app.broker import Doorbell
from app.config import Settings
from app.db.session import Database
from app.local.valkey import LocalValkey
from app.main import create_app
from tests.clockwork import clear
from tests.factories import SECRET_KEY
from tests.integration.tenancy.web import Web
from tests.integration.tenancy.worlds import World, furnish
from workers import runtime


@pytest.fixture(scope="module")
def own(settings: Settings, database: Database, valkey: LocalValkey) -> Settings:
    """Settings of a stack that reaches no other machine and keeps nobody waiting."""
    return Settings(
        database_url=database.url,
        redis_url=valkey.url,
        secret_key=SECRET_KEY,
        wait_seconds=0,
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
        s3_endpoint_url="http://127.0.0.1:9",
        s3_access_key_id="nobody",
        s3_secret_access_key="nothing",
    )


@pytest.fixture(scope="module")
def web(own: Settings) -> Iterator[Web]:
    app = create_app(own)
    (shared,) = (one for one in app.extensions.values() if isinstance(one, Context))
    yield Web(app, shared.database.engine)
    shared.database.close()


@pytest.fixture
def worker(own: Settings, celery: Celery) -> Iterator[runtime.Runtime]:
    runtime.open_runtime(own, celery)
    yield runtime.current()
    runtime.current().database.close()


@pytest.fixture
def doorbell(celery: Celery) -> Doorbell:
    return Doorbell(celery)


@pytest.fixture
def world(database: Database, doorbell: Doorbell, clean_jobs: None) -> Iterator[World]:
    """An account with one of everything."""
    yield furnish(database, doorbell, "theirs")
    clear(database)
