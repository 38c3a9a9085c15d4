"""Re-sync on a real S3 server: what is new, changed or gone there is so in the collection, however a run was interrupted."""

import time
import uuid
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from app.config import Settings
from app.db import schema
from app.domain.jobs import FETCH_PAUSES, Priority
from app.domain.schedules import LEASE
from app.services import collections, faces, resync, schedules, ticks
from tests.clockwork import Clockwork
from tests.desk import Desk
from tests.factories import SECRET_KEY, make_collection
from tests.s3 import S3Server
from workers import runtime, tasks
from workers.fetch import Fetcher, make_s3_client
from workers.schedules import run as ticking
from workers.store import Store

AWAY = Settings(
    secret_key=SECRET_KEY, s3_endpoint_url="http://127.0.0.1:9", s3_access_key_id="a", s3_secret_access_key="b"
)
PEOPLE = {"CollectionId": "people"}
pytestmark = pytest.mark.models


class Bucket:
    """A bucket whose pictures a schedule follows."""

    def __init__(self, s3: Any, clockwork: Clockwork, worker: runtime.Runtime) -> None:
        self.name = f"sync-{uuid.uuid4()}"
        self._s3, self.clockwork, self._worker = s3, clockwork, worker
        s3.create_bucket(Bucket=self.name)
        make_collection(clockwork.database, clockwork.account)
        settings = {**PEOPLE, "Bucket": self.name, "Prefix": "in/"}
        self.schedule = clockwork.make(kind="RESYNC", settings=settings)

    def put(self, key: str, content: bytes) -> None:
        self._s3.put_object(Bucket=self.name, Key=key, Body=content)

    def drop(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.name, Key=key)

    def sync(self, *, index: bool = True) -> dict[str, int]:
        """Run the schedule to its end, and if need be the jobs that it made; give what is not zero of its result."""
        tick = self.run()
        if index:
            while tasks.run_next("bulk"):
                pass
        assert tick["Status"] == "SUCCEEDED", tick
        return {name: count for name, count in tick["Result"].items() if count}

    def run(self) -> Any:
        """Run the schedule to its end and give its tick."""
        database, account_id = self.clockwork.database, self.clockwork.account.account_id
        schedules.run_now(database, self._worker.doorbell, account_id, self.schedule)
        while ticking.run_some(self._worker):
            pass
        return self.clockwork.show(self.schedule)["LastRun"]

    def faces(self) -> dict[str, str]:
        """Give the FaceId of each object in the collection, by external id."""
        with self.clockwork.database.transaction() as connection:
            answer = faces.list_faces(connection, self.clockwork.account.caller, PEOPLE)
        assert len({face["ExternalImageId"] for face in answer["Faces"]}) == len(answer["Faces"])
        return {face["ExternalImageId"]: face["FaceId"] for face in answer["Faces"]}


@pytest.fixture
def worker(desk: Desk, celery: Celery, settings: Settings, s3_server: S3Server) -> Iterator[runtime.Runtime]:
    own = Settings(
        database_url=desk.database.url,
        secret_key=SECRET_KEY,
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
        s3_endpoint_url=s3_server.endpoint_url,
        s3_access_key_id=s3_server.access_key_id,
        s3_secret_access_key=s3_server.secret_access_key,
    )
    runtime.open_runtime(own, celery)
    yield runtime.current()
    runtime.current().database.close()


@pytest.fixture
def bucket(clockwork: Clockwork, worker: runtime.Runtime, s3_server: S3Server) -> Bucket:
    return Bucket(s3_server.client(), clockwork, worker)


def test_a_collection_follows_a_prefix(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    bucket.put("in/a/obama.jpg", portraits["obama"])
    bucket.put("in/a-b.jpg", portraits["biden"])
    bucket.put("in/ein Bild (ä).jpg", portraits["obama2"])
    bucket.put("in/notes.txt", b"no picture")
    bucket.put("out/other.jpg", portraits["biden"])
    assert bucket.sync() == {"Listed": 4, "New": 4}
    first = bucket.faces()
    assert set(first) == {"in:a:obama.jpg", "in:a-b.jpg", "in:ein_Bild____.jpg"}
    assert bucket.sync() == {"Listed": 4, "Unchanged": 4}

    bucket.put("in/a-b.jpg", portraits["obama3"])
    bucket.drop("in/a/obama.jpg")
    bucket.drop("in/notes.txt")
    bucket.put("in/new.jpg", portraits["obama"])
    assert bucket.sync() == {
        "Listed": 3, "New": 1, "Changed": 1, "Unchanged": 1, "Deleted": 2, "FacesDeleted": 2,
    }  # fmt: skip
    second = bucket.faces()
    assert set(second) == {"in:new.jpg", "in:a-b.jpg", "in:ein_Bild____.jpg"}
    assert second["in:ein_Bild____.jpg"] == first["in:ein_Bild____.jpg"]
    assert second["in:a-b.jpg"] != first["in:a-b.jpg"]


def test_content_that_comes_back_is_indexed_again(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    for name in ("obama", "biden"):
        bucket.put("in/one.jpg", portraits[name])
        bucket.sync()
    before = bucket.faces()
    time.sleep(1.1)  # S3 tells when an object was changed to the second
    bucket.put("in/one.jpg", portraits["obama"])
    assert bucket.sync() == {"Listed": 1, "Changed": 1, "FacesDeleted": 1}
    after = bucket.faces()
    assert set(after) == set(before)
    assert after != before


def test_a_run_that_is_killed_between_two_pages_goes_on_and_does_nothing_twice(
    bucket: Bucket, portraits: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, worker: runtime.Runtime
) -> None:
    monkeypatch.setattr(resync, "PAGE", 2)
    for number in range(5):
        bucket.put(f"in/{number}.jpg", portraits["obama"])
    clockwork = bucket.clockwork
    schedules.run_now(clockwork.database, worker.doorbell, clockwork.account.account_id, bucket.schedule)
    dead = clockwork.claim()
    step = ticking._STEPS[dead.kind](dead, worker)
    assert ticks.advance(clockwork.database, dead, step) is not None
    with clockwork.database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.jobs)).scalar_one() == 2
    clockwork.elapse(LEASE + timedelta(seconds=1))
    while ticking.run_some(worker):
        pass
    tick = clockwork.show(bucket.schedule)["LastRun"]
    assert (tick["Status"], tick["Attempt"], tick["Result"]["New"]) == ("SUCCEEDED", 2, 5)
    while tasks.run_next("bulk"):
        pass
    assert set(bucket.faces()) == {f"in:{number}.jpg" for number in range(5)}
    with clockwork.database.transaction() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(schema.jobs)).scalar_one() == 5


def test_an_object_whose_job_has_not_ended_is_left_to_the_next_run(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    bucket.put("in/two.jpg", portraits["obama"])
    bucket.sync(index=False)
    bucket.put("in/one.jpg", portraits["biden"])
    bucket.drop("in/two.jpg")
    assert bucket.sync() == {"Listed": 1, "Busy": 2}
    assert bucket.sync() == {"Listed": 1, "Changed": 1, "Deleted": 1, "FacesDeleted": 1}
    assert set(bucket.faces()) == {"in:one.jpg"}


def test_an_object_whose_job_nobody_started_is_submitted_again(
    bucket: Bucket, portraits: dict[str, bytes], desk: Desk
) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    bucket.sync(index=False)
    desk.elapse(86_401)
    assert desk.outcomes.expire() == 1
    assert bucket.sync() == {"Listed": 1, "Retried": 1}
    assert bucket.sync() == {"Listed": 1, "Unchanged": 1}
    assert set(bucket.faces()) == {"in:one.jpg"}


@pytest.mark.parametrize("for_long", [False, True])
def test_an_object_whose_store_was_away_is_indexed_when_it_is_back(
    bucket: Bucket,
    portraits: dict[str, bytes],
    desk: Desk,
    worker: runtime.Runtime,
    monkeypatch: pytest.MonkeyPatch,
    for_long: bool,
) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    with monkeypatch.context() as patched:
        patched.setattr(worker, "fetcher", Fetcher(worker.dialer, make_s3_client(AWAY)))
        assert bucket.sync() == {"Listed": 1, "New": 1}
        for pause in FETCH_PAUSES if for_long else ():
            desk.elapse(pause.total_seconds())
            tasks.run_next("bulk")
    desk.elapse(FETCH_PAUSES[0].total_seconds())
    assert bucket.sync() == {"Listed": 1, "Retried" if for_long else "Unchanged": 1}
    assert set(bucket.faces()) == {"in:one.jpg"}


def test_a_collection_made_anew_is_filled_anew(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    bucket.sync()
    with bucket.clockwork.database.transaction() as connection:
        collections.delete_collection(connection, bucket.clockwork.account.caller, PEOPLE)
    make_collection(bucket.clockwork.database, bucket.clockwork.account)
    assert bucket.sync() == {"Listed": 1, "New": 1}
    assert set(bucket.faces()) == {"in:one.jpg"}


def test_other_settings_begin_anew_and_leave_what_was_indexed(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    bucket.put("elsewhere/two.jpg", portraits["biden"])
    bucket.sync()
    place = {**PEOPLE, "Bucket": bucket.name, "Prefix": "elsewhere/"}
    account_id = bucket.clockwork.account.account_id
    schedules.change(bucket.clockwork.database, account_id, bucket.schedule, {"settings": place})
    assert bucket.sync() == {"Listed": 1, "New": 1}
    assert set(bucket.faces()) == {"in:one.jpg", "elsewhere:two.jpg"}


def test_a_crowded_queue_makes_a_run_wait(
    bucket: Bucket, portraits: dict[str, bytes], desk: Desk, monkeypatch: pytest.MonkeyPatch, worker: runtime.Runtime
) -> None:
    monkeypatch.setattr(resync, "_MAX_QUEUED", 1)
    bucket.put("in/one.jpg", portraits["obama"])
    desk.submit(priority=Priority.LOW)
    schedules.run_now(desk.database, worker.doorbell, desk.account.account_id, bucket.schedule)
    assert ticking.run_some(worker)
    assert not ticking.run_some(worker)  # it comes again in a few seconds
    assert bucket.clockwork.show(bucket.schedule)["LastRun"]["Status"] == "QUEUED"
    desk.change(sa.delete(schema.jobs))
    bucket.clockwork.elapse(timedelta(seconds=6))
    assert ticking.run_some(worker)
    assert bucket.clockwork.show(bucket.schedule)["LastRun"]["Result"]["New"] == 1


def test_a_bucket_that_is_not_there_fails_and_deletes_nothing(bucket: Bucket, portraits: dict[str, bytes]) -> None:
    bucket.put("in/one.jpg", portraits["obama"])
    bucket.sync()
    bucket.drop("in/one.jpg")
    bucket._s3.delete_bucket(Bucket=bucket.name)
    assert bucket.run()["Error"]["Code"] == "InvalidS3ObjectException"
    assert set(bucket.faces()) == {"in:one.jpg"}


def test_a_store_that_is_away_is_asked_again_later(
    bucket: Bucket, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "store", Store(make_s3_client(AWAY)))
    clockwork = bucket.clockwork
    schedules.run_now(clockwork.database, worker.doorbell, clockwork.account.account_id, bucket.schedule)
    assert ticking.run_some(worker)
    (tick,) = clockwork.ticks(bucket.schedule)
    assert (tick["status"], tick["failures"], tick["error"]) == ("QUEUED", 1, None)
