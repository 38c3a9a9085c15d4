"""On a running stack workers keep a large collection by themselves, and answer from it what Postgres would."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.db.session import Database
from tests.factories import Account, random_embeddings, store_embeddings
from tests.live import LiveStack
from tests.patience import wait_until

pytestmark = pytest.mark.models

PEOPLE = "people"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("segments")


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[LiveStack]:
    """A stack to which a thousand faces are many."""
    settings = {"REKOLLECT_SEGMENT_FACES": "1000", "REKOLLECT_SEGMENT_DIR": str(folder)}
    with LiveStack(tmp_path_factory.mktemp("keeping"), workers=2, **settings) as live:
        yield live


def test_a_large_collection_is_kept_and_searched_without_its_vectors(
    live: LiveStack, folder: Path, portraits: dict[str, bytes]
) -> None:
    client = live.rekognition()
    client.create_collection(CollectionId=PEOPLE)

    def index(name: str) -> None:
        client.index_faces(CollectionId=PEOPLE, Image={"Bytes": portraits[name]}, ExternalImageId=name)

    def found() -> dict[str, float]:
        answer: dict[str, Any] = client.search_faces_by_image(
            CollectionId=PEOPLE, Image={"Bytes": portraits["obama3"]}, FaceMatchThreshold=90
        )
        return {match["Face"]["ExternalImageId"]: match["Similarity"] for match in answer["FaceMatches"]}

    for name in ("obama", "biden"):
        index(name)
    ((number, account),) = live.query("SELECT collection_id, account_id FROM collections WHERE name = %s", PEOPLE)
    database = Database(live.database_url)
    strangers = random_embeddings(np.random.default_rng(1), 1_500)
    store_embeddings(database, Account(account, "", key=live.key), PEOPLE, strangers)
    database.close()
    before = found()
    assert set(before) == {"obama"}
    wait_until(lambda: found() == before and list(folder.glob("*.segment")), 60)
    index("obama2")
    both = found()
    assert set(both) == {"obama", "obama2"}
    # Nothing that Postgres would scan is left, and no change number says so: what is found now was kept.
    live.query(
        "WITH gone AS (DELETE FROM fv_sface128 WHERE collection_id = %s RETURNING 1) SELECT count(*) FROM gone", number
    )
    wait_until(lambda: all(found() == both for _ in range(6)), 60)
    os.kill(next(pid for name, pid in live.pids.items() if name.startswith("worker")), signal.SIGKILL)
    live.stack.tend()
    wait_until(lambda: live.stack.tend() or all(found() == both for _ in range(6)), 60)
