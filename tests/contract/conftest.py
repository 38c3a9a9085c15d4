"""Collections, keys and stacks that the tests of the contract start from."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.db.session import Database
from app.encryption import Cipher
from app.services import access_keys
from app.services.access_keys import NewKey
from tests.live import LiveStack

MakeKey = Callable[[str], NewKey]


@pytest.fixture(scope="session")
def rekognition(live: LiveStack) -> Any:
    """An unmodified boto3 client that tries once."""
    return live.rekognition()


@pytest.fixture
def collection(live: LiveStack, rekognition: Any) -> Iterator[str]:
    """An empty collection of the test's own."""
    name = f"test-{uuid.uuid4()}"
    rekognition.create_collection(CollectionId=name)
    yield name
    if name in rekognition.list_collections()["CollectionIds"]:
        rekognition.delete_collection(CollectionId=name)


@pytest.fixture(scope="session")
def gallery(rekognition: Any, portraits: dict[str, bytes]) -> str:
    """A collection with three pictures of one person and one of another; tests do not change it."""
    rekognition.create_collection(CollectionId="contract-gallery")
    for name in ("obama", "obama2", "obama3", "biden"):
        rekognition.index_faces(CollectionId="contract-gallery", Image={"Bytes": portraits[name]}, ExternalImageId=name)
    return "contract-gallery"


@pytest.fixture(scope="session")
def make_key(live: LiveStack) -> MakeKey:
    """Make another access key for an account, and the account where it is new."""

    def make(account: str) -> NewKey:
        database = Database(live.database_url, pool_size=1)
        try:
            with database.transaction() as connection:
                return access_keys.create(connection, Cipher(live.stack.settings.secret_key), account=account)
        finally:
            database.close()

    return make


@pytest.fixture(scope="session")
def stranger(make_key: MakeKey) -> NewKey:
    """A key of another account."""
    return make_key("stranger")


@pytest.fixture(scope="session")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack of its own that waits one second for a worker and dials public addresses only."""
    changes = {"REKOLLECT_WAIT_SECONDS": "1", "REKOLLECT_DIAL_ALLOW": ""}
    with LiveStack(tmp_path_factory.mktemp("hurried"), **changes) as stack:
        yield stack
