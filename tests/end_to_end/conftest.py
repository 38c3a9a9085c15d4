"""A stack with two workers that the tests of one file may break."""

from collections.abc import Iterator

import pytest

from app.config import Settings
from tests.faults.faulty import COLLECTION, FaultyStack
from tests.held import HeldServer
from tests.live import LiveStack


@pytest.fixture(scope="module")
def faulty(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, portraits: dict[str, bytes]
) -> Iterator[FaultyStack]:
    with (
        HeldServer(portraits["biden"]) as pictures,
        HeldServer() as hooks,
        LiveStack(tmp_path_factory.mktemp("faulty"), workers=2, durable=True) as live,
    ):
        rekognition = live.rekognition()
        rekognition.create_collection(CollectionId=COLLECTION)
        enrolled = live.submit("IndexFaces", {"CollectionId": COLLECTION, "Image": {"Bytes": portraits["obama"]}})
        live.finished(enrolled.json["JobId"])
        live.query("DELETE FROM jobs")
        yield FaultyStack(live, pictures, hooks, portraits["obama2"])
