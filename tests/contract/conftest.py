"""Collections, keys and stacks that the tests of the contract start from."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from app.db.session import Database
from app.encryption import Cipher
from app.services import access_keys
from app.services.access_keys import NewKey, Terms
from tests.factories import Account, Embeddings, store_embeddings
from tests.live import LiveStack
from tests.vision.pictures import side_by_side

MakeKey = Callable[..., NewKey]
Store = Callable[[str, Embeddings], list[str]]


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

    def make(account: str, **terms: Any) -> NewKey:
        cipher = Cipher(live.stack.settings.secret_key)
        database = Database(live.database_url, pool_size=1)
        try:
            with database.transaction() as connection:
                return access_keys.create(connection, cipher, account=account, terms=Terms(**terms))
        finally:
            database.close()

    return make


@pytest.fixture(scope="session")
def store(live: LiveStack) -> Iterator[Store]:
    """Put faces with these embeddings into a collection, without a picture, and give their ids."""
    database = Database(live.database_url, pool_size=1)
    ((account_id,),) = live.query("SELECT account_id FROM accounts WHERE name = 'default'")
    account = Account(account_id, "default", live.key)
    yield lambda collection, embeddings: store_embeddings(database, account, collection, embeddings)
    database.close()


@pytest.fixture(scope="session")
def group(portraits: dict[str, bytes]) -> bytes:
    """A picture of three: the middle face is the largest, the left one the smallest."""
    three = (portraits["biden"], portraits["obama"], portraits["obama2"])
    return side_by_side(*three, heights=(500, 1100, 700))


@pytest.fixture(scope="session")
def stranger(make_key: MakeKey) -> NewKey:
    """A key of another account."""
    return make_key("stranger")


@pytest.fixture(scope="session")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack of its own that waits one second for a worker, dials public addresses only, and has a rate for all keys."""
    changes = {"REKOLLECT_WAIT_SECONDS": "1", "REKOLLECT_DIAL_ALLOW": "", "REKOLLECT_RATE_LIMIT": "1000"}
    with LiveStack(tmp_path_factory.mktemp("hurried"), **changes) as stack:
        yield stack
