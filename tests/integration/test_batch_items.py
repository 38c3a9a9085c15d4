"""Items of batches: claimed many at a time, in turns, ended together, rescued from dead workers; batches end once."""

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from app.db import batch_leases, schema
from app.domain.batches import MAX_LINES, Batch, BatchStatus, Chunk, Item, NewItem, document
from app.domain.jobs import FETCH_PAUSES, LEASE, MAX_CRASHES, RETRY_PAUSES, Company
from app.errors import (
    Conflict,
    IdempotentParameterMismatch,
    InternalServerError,
    InvalidParameter,
    S3Away,
    ValidationError,
)
from app.services import batch_results, batches
from app.services.batch_outcomes import BatchOutcomes, Ended
from app.services.batch_uploads import Uploads
from app.services.batches import NewBatch
from app.services.indexing import IndexedImage, Indexing
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import make_account, make_collection, make_face, make_image

DEFAULTS = {"CollectionId": "people"}


class BatchDesk:
    """Submits, claims and ends items of one account."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.outcomes = BatchOutcomes(desk.database, desk.doorbell, keep=timedelta(days=30))

    def submit(self, count: int = 3, *, account_id: int | None = None, **changes: Any) -> Batch:
        new = NewBatch(account_id or self.desk.account.account_id, "SearchFacesByImage", DEFAULTS, **changes)
        batch, _ = batches.submit(self.desk.database, self.desk.doorbell, new, make_items(count))
        return batch

    def expect(self, *, account_id: int | None = None, **source: Any) -> Batch:
        """Submit a batch whose items are to be listed."""
        new = NewBatch(account_id or self.desk.account.account_id, "SearchFacesByImage", DEFAULTS, source=source)
        return batches.submit(self.desk.database, self.desk.doorbell, new)[0]

    def claim(self, most: int = 16) -> Chunk:
        chunk = self.find_work(most)
        assert chunk is not None, "there is nothing to claim"
        return chunk

    def find_work(self, most: int = 16) -> Chunk | None:
        """Claim what is next, in whichever company it runs."""
        found = self.look_for_work(Company.BESIDE, most)
        while isinstance(found, Company):
            found = self.look_for_work(found, most)
        return found

    def look_for_work(self, company: Company, most: int = 16) -> Chunk | Company | None:
        return batches.claim(self.desk.database, company, most=most, worker="worker")

    def finish(self, chunk: Chunk, *ended: Ended, back: tuple[Item, ...] = (), last: bool = True) -> Batch | None:
        return self.outcomes.finish(chunk, ended or [good(item) for item in chunk.items], given_back=back, last=last)

    def run_all(self) -> None:
        while (chunk := self.find_work()) is not None:
            self.finish(chunk)

    def get(self, batch: Batch) -> Batch:
        return batches.get(self.desk.database, batch.account_id, batch.batch_id)

    def counts(self, batch: Batch) -> dict[str, int]:
        shown: dict[str, int] = document(self.get(batch))["Counts"]
        return shown

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        found = [row for row in self.desk.rows(schema.batch_items) if str(row["batch_id"]) == batch.batch_id]
        return sorted(found, key=lambda row: row["item_no"])

    def statuses(self, batch: Batch) -> list[str]:
        return [row["status"] for row in self.rows(batch)]

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(row["body"]) for row in self.desk.rows(schema.events)]

    def elapse(self, seconds: float) -> None:
        self.desk.elapse(seconds)


def make_items(count: int) -> list[NewItem]:
    image = {"Image": {"S3Object": {"Bucket": "photos", "Name": "one.jpg"}}}
    return [NewItem(number, f"item-{number}", image) for number in range(1, count + 1)]


def good(item: Item) -> Ended:
    return Ended(item, lambda connection: {"FaceMatches": []})


@pytest.fixture
def batch_desk(desk: Desk) -> BatchDesk:
    return BatchDesk(desk)


def test_items_are_claimed_many_at_a_time_with_the_defaults_in_them(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(20)
    chunk = batch_desk.claim()
    assert [item.item_no for item in chunk.items] == list(range(1, 17))
    assert chunk.items[0].input["CollectionId"] == "people"
    assert chunk.items[0].input["Image"]["S3Object"]["Name"] == "one.jpg"
    assert batch_desk.counts(batch) == {
        **{"Total": 20, "Queued": 4, "InProgress": 16},
        **{"Succeeded": 0, "Failed": 0, "Canceled": 0},
    }
    assert [item.item_no for item in batch_desk.claim().items] == [17, 18, 19, 20]
    assert batch_desk.find_work() is None


def test_racing_workers_never_claim_the_same_item(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(400)
    barrier = threading.Barrier(8)

    def work(_: int) -> list[int]:
        barrier.wait()
        mine = []
        while (chunk := batch_desk.find_work(7)) is not None:
            mine += [item.item_no for item in chunk.items]
            assert batch_desk.finish(chunk) is not None
        return mine

    with ThreadPoolExecutor(8) as pool:
        claimed = [number for mine in pool.map(work, range(8)) for number in mine]
    while (chunk := batch_desk.find_work()) is not None:  # what another one had locked at the last look
        claimed += [item.item_no for item in chunk.items]
        batch_desk.finish(chunk)
    assert sorted(claimed) == list(range(1, 401))
    ended = batch_desk.get(batch)
    assert (ended.status, ended.succeeded) == (BatchStatus.SUCCEEDED, 400)
    assert sorted(row["ended_no"] for row in batch_desk.rows(batch)) == list(range(1, 401))


def test_accounts_and_their_batches_take_turns(batch_desk: BatchDesk) -> None:
    other = make_account(batch_desk.desk.database)
    mine = [batch_desk.submit(4), batch_desk.submit(4)]
    theirs = batch_desk.submit(4, account_id=other.account_id)
    served = []
    for _ in range(6):
        chunk = batch_desk.claim(1)
        served.append(chunk.batch_id)
        batch_desk.finish(chunk)
        batch_desk.elapse(1)
    accounts = [batch_id == theirs.batch_id for batch_id in served]
    assert accounts.count(True) == 3
    assert accounts[0] != accounts[1]
    assert {served.count(batch.batch_id) for batch in mine} == {1, 2}


def test_a_batch_ends_with_its_last_item_and_tells_it_once(batch_desk: BatchDesk, bells: redis.Redis) -> None:
    batch = batch_desk.submit(2, webhook_url=WEBHOOK_URL)
    first, second = batch_desk.claim(1), batch_desk.claim(1)
    assert batch_desk.get(batch).done is False
    batch_desk.finish(second)
    assert batch_desk.events() == []
    ended = batch_desk.finish(first, Ended(first.items[0], InvalidParameter("no face")))
    assert ended is not None
    assert (ended.status, ended.succeeded, ended.failed) == (BatchStatus.SUCCEEDED, 1, 1)
    (event,) = batch_desk.events()
    assert event["type"] == "batch.completed"
    assert event["data"] == document(batch_desk.get(batch))
    assert bells.llen("webhooks") == 1
    assert batch_desk.desk.rows(schema.batch_leases) == []


def test_racing_last_items_make_one_event(batch_desk: BatchDesk) -> None:
    batch_desk.submit(8, webhook_url=WEBHOOK_URL)
    chunks = [batch_desk.claim(1) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(batch_desk.finish, chunks))
    assert [event["data"]["Counts"]["Succeeded"] for event in batch_desk.events()] == [8]


def test_an_item_that_fails_in_its_writes_costs_the_others_nothing(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(3)
    chunk = batch_desk.claim()

    def refuse(connection: sa.Connection) -> dict[str, Any]:
        connection.execute(sa.text("UPDATE batches SET operation = 'left behind'"))
        raise InvalidParameter("gone")

    one, two, three = chunk.items
    batch_desk.finish(chunk, good(one), Ended(two, refuse), good(three))
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "FAILED", "SUCCEEDED"]
    assert batch_desk.rows(batch)[1]["error"]["Message"] == "gone"
    assert batch_desk.get(batch).operation == "SearchFacesByImage"


def test_an_error_of_ours_is_tried_again_after_a_pause_and_told_without_details(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(1)
    for pause in RETRY_PAUSES:
        chunk = batch_desk.claim()
        batch_desk.finish(chunk, Ended(chunk.items[0], InternalServerError("secret")))
        assert batch_desk.find_work() is None
        let_items_wait(batch_desk, pause.total_seconds())
    chunk = batch_desk.claim()
    batch_desk.finish(chunk, Ended(chunk.items[0], InternalServerError("secret")))
    (row,) = batch_desk.rows(batch)
    assert (row["status"], row["attempt"], row["error"]["Message"]) == ("FAILED", 3, "Internal server error")


def test_a_picture_that_may_come_back_is_waited_for_and_told_as_such(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(2)
    for pause in FETCH_PAUSES:
        chunk = batch_desk.claim()
        batch_desk.finish(chunk, *(Ended(item, S3Away()) for item in chunk.items))
        let_items_wait(batch_desk, pause.total_seconds() - 0.5)
        assert batch_desk.find_work() is None
        let_items_wait(batch_desk, 0.5)
    chunk = batch_desk.claim()
    batch_desk.finish(chunk, good(chunk.items[0]), Ended(chunk.items[1], S3Away()))
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "FAILED"]
    assert batch_desk.rows(batch)[1]["error"] == {
        "Code": "InvalidS3ObjectException", "Message": S3Away.default_message, "Retryable": True
    }  # fmt: skip


def let_items_wait(batch_desk: BatchDesk, seconds: float) -> None:
    items = schema.batch_items
    batch_desk.desk.change(sa.update(items).values(available_at=items.c.available_at - timedelta(seconds=seconds)))


def let_lease_run_out(batch_desk: BatchDesk) -> None:
    leases = schema.batch_leases
    silence = LEASE + timedelta(seconds=1)
    batch_desk.desk.change(sa.update(leases).values(heartbeat_at=leases.c.heartbeat_at - silence))


def test_a_worker_that_lost_its_lease_changes_nothing(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(2)
    zombie = batch_desk.claim()
    let_lease_run_out(batch_desk)
    assert batch_desk.outcomes.rescue() == 1
    begun: list[int] = []
    late = [Ended(item, lambda connection: begun.append(1) or {"FaceMatches": []}) for item in zombie.items]
    assert batch_desk.finish(zombie, *late) is None
    assert begun == []
    assert batch_desk.statuses(batch) == ["QUEUED", "QUEUED"]
    batch_desk.run_all()
    assert batch_desk.get(batch).succeeded == 2


def test_a_renewed_lease_is_not_taken_away(batch_desk: BatchDesk) -> None:
    batch_desk.submit(1)
    chunk = batch_desk.claim()
    let_lease_run_out(batch_desk)
    assert batches.renew(batch_desk.desk.database, [chunk]) == set()
    assert batch_desk.outcomes.rescue() == 0


def test_a_lease_that_is_being_finished_is_neither_renewed_nor_waited_for(batch_desk: BatchDesk) -> None:
    batch_desk.submit(2)
    finishing, running = batch_desk.claim(1), batch_desk.claim(1)
    let_lease_run_out(batch_desk)
    with batch_desk.desk.database.transaction() as connection:
        assert batch_leases.lock(connection, finishing.lease)
        assert batches.renew(batch_desk.desk.database, [finishing, running]) == set()
    assert batch_desk.outcomes.rescue() == 1  # the one that was locked, as its own transaction would not be


def test_items_of_a_dead_worker_run_alone_and_the_one_that_kills_fails(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(4)
    batch_desk.claim(3)
    let_lease_run_out(batch_desk)
    batch_desk.outcomes.rescue()
    fresh = batch_desk.look_for_work(Company.BESIDE)
    assert isinstance(fresh, Chunk)
    assert [item.item_no for item in fresh.items] == [4]
    batch_desk.finish(fresh)
    for crashes in range(1, MAX_CRASHES):
        assert batch_desk.look_for_work(Company.BESIDE) is Company.ALONE
        poison = batch_desk.look_for_work(Company.ALONE)
        assert isinstance(poison, Chunk)
        assert [(item.item_no, item.crashes) for item in poison.items] == [(1, crashes)]
        let_lease_run_out(batch_desk)
        batch_desk.outcomes.rescue()
    assert batch_desk.statuses(batch) == ["FAILED", "QUEUED", "QUEUED", "SUCCEEDED"]
    batch_desk.run_all()
    assert batch_desk.statuses(batch) == ["FAILED", "SUCCEEDED", "SUCCEEDED", "SUCCEEDED"]
    assert batch_desk.get(batch).status is BatchStatus.SUCCEEDED


def test_a_paused_batch_waits_and_goes_on(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(3)
    chunk = batch_desk.claim()
    paused = batches.pause(batch_desk.desk.database, batch)
    assert document(paused)["Status"] == "PAUSED"
    assert batches.renew(batch_desk.desk.database, [chunk]) == {chunk.key}
    one, *rest = chunk.items
    batch_desk.finish(chunk, good(one), back=tuple(rest))
    assert batch_desk.find_work() is None
    assert [row["attempt"] for row in batch_desk.rows(batch)] == [1, 0, 0]
    batches.resume(batch_desk.desk.database, batch_desk.desk.doorbell, batch)
    batch_desk.run_all()
    assert batch_desk.get(batch).status is BatchStatus.SUCCEEDED
    with pytest.raises(Conflict):
        batches.pause(batch_desk.desk.database, batch_desk.get(batch))


def test_canceling_keeps_what_has_ended_and_begins_nothing_more(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(5, webhook_url=WEBHOOK_URL)
    batch_desk.finish(batch_desk.claim(1))
    running = batch_desk.claim(2)
    canceled = batch_desk.outcomes.cancel(batch.account_id, batch.batch_id)
    assert canceled is not None
    assert not canceled.done
    assert batch_desk.find_work() is None
    assert batches.renew(batch_desk.desk.database, [running]) == {running.key}
    batch_desk.finish(running, good(running.items[0]), back=running.items[1:])
    assert batch_desk.get(batch).done is False
    batch_desk.outcomes.tidy()
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "SUCCEEDED", "CANCELED", "CANCELED", "CANCELED"]
    ended = batch_desk.get(batch)
    assert (ended.status, ended.succeeded, ended.canceled) == (BatchStatus.CANCELED, 2, 3)
    assert sorted(row["ended_no"] for row in batch_desk.rows(batch)) == [1, 2, 3, 4, 5]
    assert [event["data"]["Status"] for event in batch_desk.events()] == ["CANCELED"]


def test_a_batch_of_which_nothing_runs_is_canceled_at_once(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(1500)
    batch_desk.outcomes.cancel(batch.account_id, batch.batch_id)
    batch_desk.outcomes.tidy()
    assert batch_desk.get(batch).status is BatchStatus.CANCELED
    assert batch_desk.get(batch).canceled == 1500


@pytest.mark.parametrize("last_act", ["cancel", "rescue", "tidy", "finish"])
def test_a_batch_that_has_ended_never_changes(batch_desk: BatchDesk, last_act: str) -> None:
    batch = batch_desk.submit(2, webhook_url=WEBHOOK_URL)
    chunk = batch_desk.claim()
    batch_desk.finish(chunk)
    before = batch_desk.get(batch), batch_desk.rows(batch), batch_desk.events()
    acts: dict[str, Callable[[], object]] = {
        "cancel": lambda: batch_desk.outcomes.cancel(batch.account_id, batch.batch_id),
        "rescue": batch_desk.outcomes.rescue,
        "tidy": batch_desk.outcomes.tidy,
        "finish": lambda: batch_desk.finish(chunk),
    }
    acts[last_act]()
    assert (batch_desk.get(batch), batch_desk.rows(batch), batch_desk.events()) == before


def test_who_has_read_up_to_a_number_has_missed_nothing(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(6)
    late, early = batch_desk.claim(3), batch_desk.claim(3)
    batch_desk.finish(early)
    first = read(batch_desk, batch, after=0)
    assert [row.item_no for row in first] == [4, 5, 6]
    batch_desk.finish(late)
    assert [row.item_no for row in read(batch_desk, batch, after=first[-1].ended_no)] == [1, 2, 3]


def read(batch_desk: BatchDesk, batch: Batch, *, after: int, most: int = MAX_LINES, failed: bool = False) -> list[Any]:
    batch = batch_desk.get(batch)
    database = batch_desk.desk.database
    until = batch_results.readable_until(database, batch, after=after, most=most, failed=failed)
    return list(batch_results.read_ended(database, batch, after=after, until=until, failed=failed))


def test_failures_are_read_separately_and_in_pieces(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(6)
    chunk = batch_desk.claim()
    ended = [good(item) if item.item_no % 2 else Ended(item, InvalidParameter()) for item in chunk.items]
    batch_desk.finish(chunk, *ended)
    assert [row.item_no for row in read(batch_desk, batch, after=0, failed=True)] == [2, 4, 6]
    assert [row.item_no for row in read(batch_desk, batch, after=0, most=2, failed=True)] == [2, 4]
    assert [row.item_no for row in read(batch_desk, batch, after=4, most=2, failed=True)] == [6]
    assert [row.item_no for row in read(batch_desk, batch, after=2, most=2)] == [3, 4]


def test_a_repeated_submit_under_a_key_gives_the_same_batch(batch_desk: BatchDesk) -> None:
    first = batch_desk.submit(idempotency_key="v1:key")
    assert batch_desk.submit(idempotency_key="v1:key").batch_id == first.batch_id
    with pytest.raises(IdempotentParameterMismatch):
        batch_desk.submit(4, idempotency_key="v1:key")
    assert len(batch_desk.desk.rows(schema.batches)) == 1


def test_a_custom_id_is_used_once_in_a_batch(batch_desk: BatchDesk) -> None:
    new = NewBatch(batch_desk.desk.account.account_id, "SearchFacesByImage", DEFAULTS)
    items = [NewItem(1, "same", {}), NewItem(2, "same", {})]
    with pytest.raises(ValidationError, match="Item 2: the CustomId same is used twice"):
        batches.submit(batch_desk.desk.database, batch_desk.desk.doorbell, new, items)
    assert batch_desk.desk.rows(schema.batches) == []


def test_a_batch_past_its_retention_is_deleted_with_its_items_and_event(batch_desk: BatchDesk) -> None:
    batch_desk.submit(3, webhook_url=WEBHOOK_URL)
    batch_desk.run_all()
    changed = sa.update(schema.batches).values(expires_at=sa.func.now() - timedelta(seconds=1))
    batch_desk.desk.change(changed)
    while batches.purge(batch_desk.desk.database):
        pass
    tables = (schema.batches, schema.batch_items, schema.batch_leases, schema.events, schema.deliveries)
    assert [batch_desk.desk.rows(table) for table in tables] == [[], [], [], [], []]


def test_a_batch_with_waiting_items_is_rung_for_again(batch_desk: BatchDesk, bells: redis.Redis) -> None:
    batch_desk.submit(3)
    bells.flushall()
    batches.ring_again(batch_desk.desk.database, batch_desk.desk.doorbell)
    assert bells.llen("bulk") == 1
    batches.ring_again(batch_desk.desk.database, batch_desk.desk.doorbell)
    assert bells.llen("bulk") == 1


def test_an_upload_that_broke_off_is_deleted_and_nothing_else(batch_desk: BatchDesk) -> None:
    other = batch_desk.submit(2)
    new = NewBatch(batch_desk.desk.account.account_id, "SearchFacesByImage", DEFAULTS)
    uploads = Uploads(batch_desk.desk.database, batch_desk.desk.doorbell, batch_desk.outcomes)
    batch_id = uploads._begin(new)
    uploads._add(batch_id, make_items(1500))
    batch_desk.outcomes.tidy()
    upload = batches.get(batch_desk.desk.database, new.account_id, batch_id)
    with pytest.raises(Conflict):
        batch_desk.outcomes.cancel(new.account_id, batch_id)
    assert upload.total == 1500
    assert [item.item_no for item in batch_desk.claim().items] == [1, 2]  # of the other one: an upload is not begun
    changed = sa.update(schema.batches).values(touched_at=sa.func.now() - timedelta(minutes=3))
    batch_desk.desk.change(changed)
    batch_desk.outcomes.tidy()
    assert [str(row["batch_id"]) for row in batch_desk.desk.rows(schema.batches)] == [other.batch_id]
    assert len(batch_desk.desk.rows(schema.batch_items)) == 2
    with pytest.raises(Conflict):
        uploads._add(batch_id, make_items(1))


def indexing(batch_desk: BatchDesk, *images: IndexedImage, collection: str = "people") -> list[Indexing]:
    return [Indexing(batch_desk.desk.account.account_id, collection, image) for image in images]


def test_images_of_one_chunk_are_indexed_together_and_none_twice(batch_desk: BatchDesk) -> None:
    make_collection(batch_desk.desk.database, batch_desk.desk.account)
    new = NewBatch(batch_desk.desk.account.account_id, "IndexFaces", DEFAULTS)
    batch, _ = batches.submit(batch_desk.desk.database, batch_desk.desk.doorbell, new, make_items(5))
    chunk = batch_desk.claim()
    one, two = make_face(place=1), make_face(place=2)
    writes = indexing(
        batch_desk,
        make_image(one, two, image="a", external="a"),
        make_image(one, image="a", external="a"),  # the same image once more
        make_image(one, image="a", external="another id"),
        make_image(two, image="b"),
        make_image(image="nobody"),
    )
    batch_desk.finish(chunk, *(Ended(item, write) for item, write in zip(chunk.items, writes, strict=True)))
    assert batch_desk.statuses(batch) == ["SUCCEEDED"] * 5
    results = [row["result"]["FaceRecords"] for row in batch_desk.rows(batch)]
    assert [len(records) for records in results] == [2, 1, 1, 1, 0]
    assert results[1][0]["Face"]["FaceId"] == results[0][0]["Face"]["FaceId"]
    stored = batch_desk.desk.rows(schema.faces)
    mine = [row for row in stored if str(row["face_id"]) in json.dumps(results)]
    assert sorted(row["face_no"] for row in mine) == [1, 2, 3, 4]
    assert sorted(row["external_image_id"] or "" for row in mine) == ["", "a", "a", "another id"]


def test_a_collection_that_is_gone_fails_its_items_and_no_other(batch_desk: BatchDesk) -> None:
    make_collection(batch_desk.desk.database, batch_desk.desk.account)
    new = NewBatch(batch_desk.desk.account.account_id, "IndexFaces", {})
    batch, _ = batches.submit(batch_desk.desk.database, batch_desk.desk.doorbell, new, make_items(4))
    chunk = batch_desk.claim()
    images = [make_image(make_face(place=place), image=str(place)) for place in range(4)]
    writes = [*indexing(batch_desk, *images[:2], collection="gone"), *indexing(batch_desk, *images[2:])]
    batch_desk.finish(chunk, *(Ended(item, write) for item, write in zip(chunk.items, writes, strict=True)))
    assert batch_desk.statuses(batch) == ["FAILED", "FAILED", "SUCCEEDED", "SUCCEEDED"]
    assert batch_desk.rows(batch)[0]["error"]["Code"] == "ResourceNotFoundException"
