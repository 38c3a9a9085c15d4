"""On a running stack a collection grows into buckets of its own by itself, whatever is killed, and searches notice nothing."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.live import LiveStack
from tests.moving import going_on

pytestmark = pytest.mark.models

PEOPLE = "people"


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack to which a dozen faces are many."""
    with LiveStack(tmp_path_factory.mktemp("growing"), workers=2, REKOLLECT_OWN_BUCKET_FACES="12") as live:
        yield live


def until(live: LiveStack, reached: Callable[[], bool], seconds: float = 60) -> None:
    """Tend the stack until something has come about."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it does not come about"
        live.stack.tend()
        time.sleep(0.1)


def test_a_collection_grows_under_searches_and_kills_and_is_cleared_away(
    live: LiveStack, portraits: dict[str, bytes]
) -> None:
    client = live.rekognition()
    client.create_collection(CollectionId=PEOPLE)

    def index(number: int) -> None:
        picture = {"Bytes": portraits[("obama", "obama2", "biden")[number % 3]]}
        client.index_faces(CollectionId=PEOPLE, Image=picture, ExternalImageId=f"{number}")

    def found() -> list[str]:
        answer: dict[str, Any] = client.search_faces_by_image(
            CollectionId=PEOPLE, Image={"Bytes": portraits["obama3"]}, FaceMatchThreshold=90
        )
        return sorted(match["Face"]["ExternalImageId"] for match in answer["FaceMatches"])

    for number in range(12):
        index(number)
    before = found()
    assert len(before) == 8
    answers: list[list[str]] = []
    with going_on(lambda: answers.append(found())) as failures:
        index(12)  # another obama: one too many for a shared bucket
        os.kill(next(pid for name, pid in live.pids.items() if name.startswith("worker")), signal.SIGKILL)
        until(live, lambda: live.query("SELECT buckets[1] >= 100 FROM collections") == [(True,)])
    assert failures == []
    complete = sorted([*before, "12"])
    assert all(answer in (before, complete) for answer in answers)
    assert answers == sorted(answers, key=len)
    assert found() == complete
    client.delete_collection(CollectionId=PEOPLE)
    partitions = "SELECT relname FROM pg_class WHERE relname ~ '^[fu]v_.*_1[0-9][0-9]_[0-9]+$'"
    until(live, lambda: live.query(partitions) == [])
    until(live, lambda: live.query("SELECT collection_id FROM faces UNION SELECT collection_id FROM bucket_work") == [])
