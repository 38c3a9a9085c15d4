"""The parts that tests run on, started once per session: Postgres with pgvector, S3, and the whole live stack.

Nothing stands in for anything: a machine that cannot start a part fails the tests that need it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from app.assets import pull_models, pull_samples
from app.config import Settings
from app.db import migrate
from app.local.postgres import LocalPostgres
from tests.live import LiveStack
from tests.s3 import S3Server

pytest.register_assert_rewrite("tests.faults")

# How long an example takes says something about the machine, and nothing about the code.
hypothesis.settings.register_profile("rekollect", deadline=None)
hypothesis.settings.load_profile("rekollect")


@pytest.fixture(scope="session")
def settings() -> Settings:
    """The machine's own settings for models and cache, with the models in place."""
    settings = Settings.from_environment()
    pull_models(settings, print)
    return settings


@pytest.fixture(scope="session")
def portraits(settings: Settings) -> dict[str, bytes]:
    """The sample portraits by name without suffix; `obama`, `obama2` and `obama3` show one person."""
    return {path.stem: path.read_bytes() for path in pull_samples(settings, print)}


@pytest.fixture(scope="session")
def faces_dir() -> Path:
    """The folder of test pictures with its manifest.csv."""
    folder = os.environ.get("REKOLLECT_TEST_FACES")
    if not folder:
        pytest.skip("REKOLLECT_TEST_FACES is not set: it names the folder with the test pictures")
    return Path(folder)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPostgres]:
    """An empty Postgres; a crash of the machine may lose what tests wrote."""
    server = LocalPostgres(tmp_path_factory.mktemp("postgres") / "data", durable=False)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def database_url(postgres: LocalPostgres) -> str:
    """The address of a migrated database that no process works on."""
    migrate.upgrade(postgres.url)
    return postgres.url


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    with S3Server() as server:
        yield server


@pytest.fixture(scope="session")
def live(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server, settings: Settings) -> Iterator[LiveStack]:
    """The whole stack as `rekollect up` runs it; loopback may be dialled, S3 is the test server."""
    with LiveStack(tmp_path_factory.mktemp("live"), s3=s3_server) as stack:
        yield stack
