"""A picture that kills whoever looks at it: it takes three workers along and then itself, and nobody else.

All work is on one worker process, so that whatever else is under way dies with the picture.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.config import Settings
from tests.faults.faulty import COLLECTION, FaultyStack
from tests.held import HeldServer
from tests.live import LiveStack
from tests.vision.pictures import jpeg

pytestmark = pytest.mark.models

#: Has every worker process die of the picture.
DEADLY = Path(__file__).parent / "poison"
POISON = jpeg(np.full((200, 200, 3), 77, np.uint8))
MESSAGE = "The request was given up: three workers died or hung while they were at it."


@pytest.fixture(scope="module")
def faulty(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, portraits: dict[str, bytes]
) -> Iterator[FaultyStack]:
    path = [str(DEADLY), *filter(None, [os.environ.get("PYTHONPATH")])]
    with (
        pytest.MonkeyPatch.context() as environment,
        HeldServer(portraits["biden"]) as pictures,
        HeldServer() as hooks,
    ):
        environment.setenv("PYTHONPATH", os.pathsep.join(path))
        environment.setenv("POISON_SHA256", hashlib.sha256(POISON).hexdigest())
        with LiveStack(tmp_path_factory.mktemp("poison"), durable=True) as live:
            live.rekognition().create_collection(CollectionId=COLLECTION)
            enrolled = live.submit("IndexFaces", {"CollectionId": COLLECTION, "Image": {"Bytes": portraits["obama"]}})
            live.finished(enrolled.json["JobId"])
            live.query("DELETE FROM jobs")
            yield FaultyStack(live, pictures, hooks, portraits["obama2"])


def die_and_be_rescued(faulty: FaultyStack) -> None:
    """Wait until the worker dies and is started again; what it left is to be rescued at once."""
    pid = faulty.live.pids["worker"]
    faulty.until(lambda: faulty.live.pids["worker"] != pid, "the worker dies and is started again")
    faulty.live.query("UPDATE jobs SET heartbeat_at = now() - interval '1 hour' WHERE status = 'IN_PROGRESS'")
    faulty.live.query("UPDATE batch_leases SET heartbeat_at = now() - interval '1 hour'")


def test_a_poisonous_picture_fails_after_three_deaths_and_its_neighbours_succeed(faulty: FaultyStack) -> None:
    faulty.pictures.hold()
    neighbours = [faulty.index_held(f"neighbour-{number}") for number in range(4)]
    poison = faulty._accepted("DetectFaces", {"Image": {"Bytes": POISON}})
    die_and_be_rescued(faulty)
    faulty.pictures.release()
    die_and_be_rescued(faulty)
    die_and_be_rescued(faulty)
    job = faulty.finished(poison)
    assert (job["Status"], job["Attempt"]) == ("FAILED", 3)
    assert job["Error"] == {"Code": "InternalServerError", "Message": MESSAGE, "Retryable": False}
    assert faulty.outcomes(poison) == ["crashed"] * 3
    for job_id in neighbours:
        assert faulty.finished(job_id)["Status"] == "SUCCEEDED"
        assert faulty.outcomes(job_id) == ["crashed", "succeeded"]
    faulty.assert_sound()


def test_a_poisonous_item_fails_alone_of_its_batch(faulty: FaultyStack) -> None:
    faulty.pictures.release()
    with HeldServer(POISON) as poisonous:
        urls = [f"{faulty.pictures.url}/{number}.jpg" for number in range(12)]
        urls[3] = f"{poisonous.url}/poison.jpg"
        items = [{"CustomId": str(number), "Input": {"Image": {"Url": url}}} for number, url in enumerate(urls)]
        answer = faulty.live.call("POST", "/v1/batches", {"Operation": "DetectFaces", "Items": items})
        for _ in range(3):
            die_and_be_rescued(faulty)
        batch = answer.json["BatchId"]
        faulty.until(lambda: faulty.live.call("GET", f"/v1/batches/{batch}").json["Done"], "the batch ends")
    rows = faulty.live.query("SELECT status, attempt, crashes, error->>'Message' FROM batch_items ORDER BY item_no")
    assert rows.pop(3) == ("FAILED", 3, 2, MESSAGE)
    assert {(status, message) for status, _, _, message in rows} == {("SUCCEEDED", None)}
    assert {crashes for _, _, crashes, _ in rows} <= {0, 1}
