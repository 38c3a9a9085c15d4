"""A worker's slice of bulk work as Celery calls it: pauses, cancellation, errors of ours."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import redis
import sqlalchemy as sa
from celery import Celery

from app.config import Settings
from app.db import schema
from app.domain.addresses import parse_networks
from app.domain.batches import Batch, BatchStatus, NewItem
from app.domain.jobs import LEASE, Claim, Company, Priority
from app.errors import InvalidS3Object, ServiceUnavailable, ValidationError
from app.services import batches
from app.services.batch_expansion import Page
from app.services.outcomes import Complete
from tests.desk import Desk
from tests.factories import SECRET_KEY, make_account, make_collection
from tests.integration.test_batch_items import BatchDesk, let_lease_run_out, make_items
from tests.patience import wait_until
from tests.s3 import S3Server
from workers import insist, runtime, tasks
from workers.bulk import sources
from workers.fetch import make_s3_client
from workers.jobs import kinds
from workers.store import Store, StoreUnavailable


@pytest.fixture
def worker(desk: Desk, celery: Celery, settings: Settings) -> Iterator[runtime.Runtime]:
    """The runtime of this process, as a worker opens it."""
    own = Settings(
        database_url=desk.database.url,
        secret_key=SECRET_KEY,
        dial_allow=parse_networks(["127.0.0.0/8"]),
        models_dir=settings.models_dir,
        cache_dir=settings.cache_dir,
    )
    runtime.open_runtime(own, celery)
    yield runtime.current()
    runtime.current().database.close()


@pytest.fixture
def batch_desk(desk: Desk, worker: runtime.Runtime) -> BatchDesk:
    return BatchDesk(desk)


class Script:
    """Stands before the work on pictures: says for each item in turn what happens, and remembers who came."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.acts: dict[str, Any] = {}

    def run(self, claim: Claim, _: runtime.Runtime) -> Complete:
        number = claim.job_id.rpartition("/")[2]
        self.seen.append(number)
        act = self.acts.get(number)
        if act is not None:
            act()
        return lambda connection: {"FaceMatches": []}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(kinds, "run", script.run)
    return script


IMAGE = {"Image": {"S3Object": {"Bucket": "photos", "Name": "one.jpg"}}}


def list_items(batch_desk: BatchDesk, worker: runtime.Runtime, *page: NewItem, complete: bool = True) -> Batch:
    """Submit a batch that is listed, and write a page of its items."""
    batch = batch_desk.expect(S3Prefix={"Bucket": "photos", "Prefix": ""})
    listing = worker.expansion.take(worker="worker")
    assert listing is not None
    worker.expansion.add(listing, Page(page, {"After": "z"}, complete))
    worker.expansion.release(listing)
    return batch


def test_a_slice_runs_batches_to_their_end(batch_desk: BatchDesk, script: Script, bells: redis.Redis) -> None:
    first, second = batch_desk.submit(20), batch_desk.submit(20)
    bells.flushall()
    assert tasks.run_next("bulk") is True
    assert [batch_desk.get(batch).status for batch in (first, second)] == [BatchStatus.SUCCEEDED] * 2
    assert bells.llen("bulk") == 1  # for another thread, once a chunk was found
    assert tasks.run_next("bulk") is False


def test_bulk_jobs_and_batches_take_turns(batch_desk: BatchDesk, script: Script) -> None:
    batch = batch_desk.submit(40)
    jobs = [batch_desk.desk.submit(priority=Priority.LOW).job_id for _ in range(3)]
    tasks.run_next("bulk")
    assert script.seen.index(jobs[1]) < script.seen.index("17") < script.seen.index(jobs[2]) < script.seen.index("33")
    assert batch_desk.get(batch).succeeded == 40


def test_items_not_begun_are_given_back_when_the_process_ends(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime
) -> None:
    batch = batch_desk.submit(5)
    script.acts["2"] = worker.stopping.set
    tasks.run_next("bulk")
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "SUCCEEDED", "QUEUED", "QUEUED", "QUEUED"]
    assert [row["attempt"] for row in batch_desk.rows(batch)] == [1, 1, 0, 0, 0]
    assert batch_desk.desk.rows(schema.batch_leases) == []


def test_items_not_begun_are_given_back_when_another_thread_is_to_be_alone(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime
) -> None:
    batch = batch_desk.submit(5)
    seen_before: list[list[str]] = []

    def be_alone(company: Company) -> bool | Company:
        if company is Company.BESIDE:
            return Company.ALONE
        seen_before.append(list(script.seen))
        return True

    with ThreadPoolExecutor(1) as pool:

        def let_another_come() -> None:
            pool.submit(worker.places.run, be_alone)
            wait_until(lambda: worker.places.are_awaited)

        script.acts["2"] = let_another_come
        tasks.run_next("bulk")
    assert seen_before == [["1", "2"]]
    assert batch_desk.statuses(batch) == ["SUCCEEDED"] * 5
    assert [(row["attempt"], row["crashes"]) for row in batch_desk.rows(batch)] == [(1, 0)] * 5


def test_what_was_under_way_when_a_worker_died_runs_alone(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime
) -> None:
    batch = batch_desk.submit(4)
    low = batch_desk.desk.submit(priority=Priority.LOW)
    batch_desk.desk.claim("bulk")
    batch_desk.claim(2)
    let_lease_run_out(batch_desk)
    batch_desk.desk.elapse(LEASE.total_seconds() + 1)
    tasks.sweep()
    company: dict[str, bool] = {}
    for name in ("1", "2", "3", "4", low.job_id):
        script.acts[name] = lambda name=name: company.update({name: worker.places._is_alone})
    tasks.run_next("bulk")
    assert company == {"1": True, "2": True, "3": False, "4": False, low.job_id: True}
    assert batch_desk.statuses(batch) == ["SUCCEEDED"] * 4


@pytest.mark.parametrize("act", ["pause", "cancel"])
def test_a_pause_or_a_cancellation_is_seen_between_items(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime, act: str
) -> None:
    batch = batch_desk.submit(5)

    def halt() -> None:
        if act == "pause":
            batches.pause(batch_desk.desk.database, batch)
        else:
            batch_desk.outcomes.cancel(batch.account_id, batch.batch_id)
        heart = worker.batch_heartbeat
        heart._stopped = heart._renew(list(heart._held.values()))  # a beat, as it comes every few seconds

    script.acts["2"] = halt
    tasks.run_next("bulk")
    assert script.seen == ["1", "2"]
    assert batch_desk.statuses(batch)[:2] == ["SUCCEEDED", "SUCCEEDED"]
    tasks.sweep()
    ended = batch_desk.get(batch)
    assert (ended.status, ended.canceled) == (
        (BatchStatus.IN_PROGRESS, 0) if act == "pause" else (BatchStatus.CANCELED, 3)
    )


def test_an_unexpected_error_costs_one_item_only(batch_desk: BatchDesk, script: Script) -> None:
    batch = batch_desk.submit(3)

    def crash() -> None:
        raise ZeroDivisionError

    script.acts["2"] = crash
    tasks.run_next("bulk")
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "QUEUED", "SUCCEEDED"]


def test_an_answer_that_cannot_be_written_costs_one_item_only(
    batch_desk: BatchDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_desk.submit(3)

    def run(claim: Claim, _: runtime.Runtime) -> Complete:
        wrong = claim.job_id.endswith("/2")
        return lambda connection: {"FaceMatches": 5} if wrong else {"FaceMatches": []}

    monkeypatch.setattr(kinds, "run", run)
    tasks.run_next("bulk")
    assert batch_desk.statuses(batch) == ["SUCCEEDED", "QUEUED", "SUCCEEDED"]
    assert batch_desk.desk.rows(schema.batch_leases) == []


class Outage:
    """Makes Postgres fail the endings of items for some seconds of a clock of its own; then something happens."""

    def __init__(self, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch, *, seconds: float) -> None:
        self._now, self._over_at = 0.0, seconds
        self._finish = worker.batch_outcomes.finish
        self.at_its_end: Callable[[], object] = int
        monkeypatch.setattr(worker.batch_outcomes, "finish", self.finish)
        monkeypatch.setattr(insist, "time", self)

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds

    def finish(self, *arguments: Any, **options: Any) -> Batch | None:
        if self._now < self._over_at:
            raise ServiceUnavailable
        self.at_its_end()
        return self._finish(*arguments, **options)


def test_finished_items_wait_for_postgres(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_desk.submit(3)
    Outage(worker, monkeypatch, seconds=120)
    tasks.run_next("bulk")
    assert batch_desk.statuses(batch) == ["SUCCEEDED"] * 3
    assert script.seen == ["1", "2", "3"]


def test_items_whose_lease_ran_out_while_postgres_was_away_did_not_crash(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_desk.submit(3)
    outage = Outage(worker, monkeypatch, seconds=60)
    chunks: list[Any] = []

    def lose() -> None:
        if not chunks:
            let_lease_run_out(batch_desk)
            assert batch_desk.outcomes.rescue() == 1
            chunks.append(batch_desk.claim())  # one of them runs elsewhere already, and alone

    outage.at_its_end = lose
    tasks.run_next("bulk")
    assert script.seen == ["1", "2", "3", "2", "3"]
    assert [row["crashes"] for row in batch_desk.rows(batch)] == [1, 0, 0]
    batch_desk.finish(chunks[0])
    assert batch_desk.get(batch).status is BatchStatus.SUCCEEDED


def test_a_process_that_is_to_end_waits_for_postgres_no_longer(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_desk.submit(2)
    Outage(worker, monkeypatch, seconds=60)
    script.acts["1"] = worker.stopping.set
    tasks.run_next("bulk")
    assert batch_desk.statuses(batch) == ["IN_PROGRESS"] * 2


def test_a_retry_lists_what_failed_and_nothing_else(batch_desk: BatchDesk, script: Script) -> None:
    batch = batch_desk.submit(5)

    def refuse() -> None:
        raise ValidationError("no")

    script.acts |= {"2": refuse, "4": refuse}
    tasks.run_next("bulk")
    failed = batch_desk.get(batch)
    script.acts.clear()
    again, _ = batches.retry_failed(batch_desk.desk.database, batch_desk.desk.doorbell, failed, idempotency_key=None)
    assert again.status is BatchStatus.EXPANDING
    tasks.run_next("bulk")
    ended = batch_desk.get(again)
    assert (ended.status, ended.total, ended.succeeded) == (BatchStatus.SUCCEEDED, 2, 2)
    assert [row["custom_id"] for row in batch_desk.rows(again)] == ["item-2", "item-4"]


def test_a_retry_refuses_again_what_never_ran(batch_desk: BatchDesk, script: Script, worker: runtime.Runtime) -> None:
    first = list_items(batch_desk, worker, NewItem(1, "same", IMAGE), NewItem(2, "same", IMAGE))
    tasks.run_next("bulk")
    again, _ = batches.retry_failed(
        batch_desk.desk.database, batch_desk.desk.doorbell, batch_desk.get(first), idempotency_key=None
    )
    script.seen.clear()
    tasks.run_next("bulk")
    (refused,) = batch_desk.rows(again)
    assert (refused["status"], refused["attempt"]) == ("FAILED", 0)
    assert refused["error"]["Message"] == "The CustomId same is used twice."
    assert script.seen == []
    assert batch_desk.get(again).status is BatchStatus.SUCCEEDED


def test_a_batch_that_is_read_for_a_retry_is_not_purged(batch_desk: BatchDesk, script: Script) -> None:
    again, failed = retry_of_an_expired_batch(batch_desk, script)
    database = batch_desk.desk.database
    while batches.purge(database):
        pass
    tasks.run_next("bulk")
    assert (batch_desk.get(again).total, batch_desk.get(again).failed) == (3, 3)
    while batches.purge(database):
        pass
    assert batch_desk.rows(failed) == []
    assert len(batch_desk.rows(again)) == 3


def test_a_retry_of_a_batch_that_is_gone_fails(batch_desk: BatchDesk, script: Script) -> None:
    again, failed = retry_of_an_expired_batch(batch_desk, script)
    for table in (schema.batch_items, schema.batches):
        batch_desk.desk.change(sa.delete(table).where(table.c.batch_id == failed.batch_id))
    tasks.run_next("bulk")
    ended = batch_desk.get(again)
    assert ended.error is not None
    assert (ended.status, ended.error["Code"]) == (BatchStatus.FAILED, "ResourceNotFoundException")


def retry_of_an_expired_batch(batch_desk: BatchDesk, script: Script) -> tuple[Batch, Batch]:
    """Let a batch of three fail, submit its retry, and let its retention pass; give the retry and the batch."""

    def refuse() -> None:
        raise ValidationError("no")

    script.acts = dict.fromkeys("123", refuse)
    batch = batch_desk.submit(3)
    tasks.run_next("bulk")
    failed = batch_desk.get(batch)
    again, _ = batches.retry_failed(batch_desk.desk.database, batch_desk.desk.doorbell, failed, idempotency_key=None)
    past = sa.update(schema.batches).where(schema.batches.c.batch_id == failed.batch_id)
    batch_desk.desk.change(past.values(expires_at=sa.func.now() - timedelta(seconds=1)))
    return again, failed


@pytest.mark.parametrize("listed", [0, 2])
def test_a_batch_canceled_while_it_is_listed_is_canceled(
    batch_desk: BatchDesk, script: Script, worker: runtime.Runtime, listed: int
) -> None:
    batch = list_items(batch_desk, worker, *make_items(listed), complete=False)
    while chunk := batch_desk.find_work():
        batch_desk.finish(chunk)
    batch_desk.outcomes.cancel(batch.account_id, batch.batch_id)
    ended = batch_desk.get(batch)
    assert (ended.status, ended.total, ended.succeeded) == (BatchStatus.CANCELED, listed, listed)
    assert worker.expansion.take(worker="worker") is None


def test_a_batch_canceled_when_all_has_been_done_is_not_canceled(batch_desk: BatchDesk) -> None:
    batch = batch_desk.submit(2)
    chunk = batch_desk.claim()
    batch_desk.outcomes.cancel(batch.account_id, batch.batch_id)
    batch_desk.finish(chunk)
    assert batch_desk.get(batch).status is BatchStatus.SUCCEEDED


def test_accounts_and_their_batches_take_turns_at_listing(batch_desk: BatchDesk, worker: runtime.Runtime) -> None:
    other = make_account(batch_desk.desk.database).account_id
    place = {"Bucket": "photos", "Prefix": ""}
    mine = [batch_desk.expect(S3Prefix=place).batch_id for _ in range(2)]
    theirs = batch_desk.expect(account_id=other, S3Prefix=place).batch_id
    turns = []
    for _ in range(8):
        listing = worker.expansion.take(worker="worker")
        assert listing is not None
        turns.append(listing.batch.batch_id)
        worker.expansion.release(listing)
    assert turns == [mine[0], theirs, mine[1], theirs, mine[0], theirs, mine[1], theirs]


AWAY = Settings(
    secret_key=SECRET_KEY, s3_endpoint_url="http://127.0.0.1:9", s3_access_key_id="a", s3_secret_access_key="b"
)


def test_a_store_that_is_away_for_long_is_asked_until_it_answers(
    batch_desk: BatchDesk,
    script: Script,
    worker: runtime.Runtime,
    monkeypatch: pytest.MonkeyPatch,
    s3_server: S3Server,
    bells: redis.Redis,
) -> None:
    bucket = f"late-{uuid.uuid4()}"
    s3_server.client().create_bucket(Bucket=bucket)
    s3_server.client().put_object(Bucket=bucket, Key="one.jpg", Body=b"a picture")
    batch = batch_desk.expect(S3Prefix={"Bucket": bucket, "Prefix": ""})
    monkeypatch.setattr(worker, "store", Store(make_s3_client(AWAY)))
    pauses = []
    for _ in range(sources._TRIES - 1):
        assert tasks.run_next("bulk")
        assert not tasks.run_next("bulk")
        assert batch_desk.desk.rows(schema.batch_leases) == []
        pauses.append(let_store_rest(batch_desk))
        bells.flushall()
        batches.ring_again(batch_desk.desk.database, batch_desk.desk.doorbell)
        assert bells.llen("bulk") == 1
        if len(pauses) == 2:
            monkeypatch.setattr(sources, "_page", fall)  # the same, and quicker
    assert timedelta(hours=8) < sum(pauses, timedelta()) < timedelta(hours=10)
    assert batch_desk.get(batch).status is BatchStatus.EXPANDING
    monkeypatch.undo()
    monkeypatch.setattr(kinds, "run", script.run)
    monkeypatch.setattr(worker, "store", Store(make_s3_client(s3_settings(s3_server))))
    tasks.run_next("bulk")
    ended = batch_desk.get(batch)
    assert (ended.status, ended.total, ended.cursor) == (BatchStatus.SUCCEEDED, 1, {"After": "one.jpg"})


def fall(*_: object) -> NoReturn:
    raise StoreUnavailable


def let_store_rest(batch_desk: BatchDesk) -> timedelta:
    """Let the pause of a listing pass, and give how long it is."""
    (row,) = batch_desk.desk.rows(schema.batches)
    pause: timedelta = row["listable_at"] - row["listed_at"]
    table = schema.batches
    batch_desk.desk.change(
        sa.update(table).values({name: table.c[name] - pause for name in ("listable_at", "rung_at", "served_at")})
    )
    return pause


def test_a_store_that_stays_away_fails_the_batch_in_the_end(
    batch_desk: BatchDesk, script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_page", fall)
    monkeypatch.setattr(sources, "_TRIES", 2)
    batch = batch_desk.expect(S3Prefix={"Bucket": "photos", "Prefix": ""})
    tasks.run_next("bulk")
    let_store_rest(batch_desk)
    tasks.run_next("bulk")
    ended = batch_desk.get(batch)
    assert ended.error is not None
    assert (ended.status, ended.error["Code"]) == (BatchStatus.FAILED, "InvalidS3ObjectException")
    assert ended.error["Retryable"]


def test_a_bucket_that_cannot_be_is_not_asked_for_twice() -> None:
    with pytest.raises(InvalidS3Object):
        Store(make_s3_client(AWAY)).list_keys("bad bucket!", "", after="", limit=1)


def test_items_whose_store_is_away_wait_for_it(
    batch_desk: BatchDesk, worker: runtime.Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_collection(batch_desk.desk.database, batch_desk.desk.account)
    monkeypatch.setattr(worker, "s3_client", make_s3_client(AWAY))
    batch = batch_desk.submit(2)
    tasks.run_next("bulk")
    assert [(row["status"], row["attempt"], row["error"]) for row in batch_desk.rows(batch)] == [
        ("QUEUED", 1, None)
    ] * 2
    assert batch_desk.get(batch).running == 0


def s3_settings(server: S3Server) -> Settings:
    return Settings(
        secret_key=SECRET_KEY,
        s3_endpoint_url=server.endpoint_url,
        s3_access_key_id=server.access_key_id,
        s3_secret_access_key=server.secret_access_key,
    )
