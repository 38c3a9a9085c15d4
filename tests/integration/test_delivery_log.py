"""The log of deliveries on Postgres: pages, filters, sending again, and what others see of it."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
import sqlalchemy as sa

from app.db import delivery_log, schema
from app.db import endpoints as endpoint_rows
from app.domain.deliveries import MAX_SHOWN_ATTEMPTS, Filter, Replay
from app.errors import Conflict, DeliveryNotFound, EndpointNotFound, ValidationError
from app.services import deliveries, receivers
from app.services.endpoints import Endpoints
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import CIPHER, make_account, make_endpoint


def deliver(desk: Desk, count: int = 1, **job: Any) -> list[str]:
    """End jobs and give the ids of their deliveries, oldest first."""
    before = {row["delivery_id"] for row in desk.rows(schema.deliveries)}
    for _ in range(count):
        desk.submit(**(job or {"tells_endpoints": True}))
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
    return sorted(str(row["delivery_id"]) for row in desk.rows(schema.deliveries) if row["delivery_id"] not in before)


def end(desk: Desk, status: str, *ids: str, attempts: int = 10) -> None:
    """Let deliveries have ended."""
    which = schema.deliveries.c.delivery_id.in_([uuid.UUID(one) for one in ids])
    state = {"status": status, "attempts": attempts, "finished_at": sa.func.now()}
    desk.change(sa.update(schema.deliveries).where(which).values(**state))


def row(desk: Desk, delivery_id: str) -> dict[str, Any]:
    (found,) = [row for row in desk.rows(schema.deliveries) if str(row["delivery_id"]) == delivery_id]
    return found


def listed(desk: Desk, **wanted: Any) -> list[str]:
    page = deliveries.list_page(desk.database, desk.account.account_id, Filter(**wanted), before=None, limit=100)
    return [one["DeliveryId"] for one in page]


def replay(desk: Desk, endpoint_id: uuid.UUID, **members: Any) -> int:
    members = {"Since": (datetime.now(UTC) - timedelta(days=1)).isoformat(), **members}
    told = deliveries.replay(desk.database, desk.doorbell, desk.account.account_id, str(endpoint_id), members)
    count: int = told["Deliveries"]
    return count


def test_deliveries_are_listed_newest_first_a_page_at_a_time(desk: Desk) -> None:
    make_endpoint(desk.database, desk.account)
    ids = deliver(desk, 3)
    assert listed(desk) == ids[::-1]
    page = deliveries.list_page(desk.database, desk.account.account_id, Filter(), before=uuid.UUID(ids[2]), limit=1)
    assert [one["DeliveryId"] for one in page] == [ids[1]]


def test_filters_narrow_the_list(desk: Desk) -> None:
    first, _ = make_endpoint(desk.database, desk.account)
    second, _ = make_endpoint(desk.database, desk.account, event_types=["webhook.test"])
    (done,) = deliver(desk)
    (own,) = deliver(desk, webhook_url=WEBHOOK_URL)
    account_id = desk.account.account_id
    test = deliveries.send_test(desk.database, desk.doorbell, account_id, str(second))["DeliveryId"]
    end(desk, "FAILED", done)
    assert listed(desk) == [test, own, done]
    assert listed(desk, endpoint_id=first) == [done]
    assert listed(desk, endpoint_id=second) == [test]
    assert listed(desk, status="FAILED") == [done]
    assert listed(desk, status="PENDING") == [test, own]
    assert listed(desk, event_type="webhook.test") == [test]
    job_id = deliveries.get(desk.database, account_id, own)["JobId"]
    assert listed(desk, job_id=uuid.UUID(job_id)) == [own]
    assert listed(desk, job_id=uuid.UUID(job_id), status="FAILED") == []


def test_a_delivery_is_shown_with_its_newest_attempts(desk: Desk) -> None:
    make_endpoint(desk.database, desk.account, url="https://example.com/there")
    (delivery_id,) = deliver(desk)
    count = MAX_SHOWN_ATTEMPTS + 3
    desk.change(
        sa.insert(schema.delivery_attempts).values(
            [{"delivery_id": uuid.UUID(delivery_id), "attempt": n, "answer": b"\xff"} for n in range(1, count + 1)]
        )
    )
    shown = deliveries.get(desk.database, desk.account.account_id, delivery_id)
    assert (shown["Url"], shown["EventType"], shown["Status"]) == (
        "https://example.com/there",
        "job.succeeded",
        "PENDING",
    )
    assert [one["Attempt"] for one in shown["AttemptLog"]] == list(range(4, count + 1))
    assert shown["AttemptLog"][0]["Answer"] == "\N{REPLACEMENT CHARACTER}"


def test_another_account_sees_no_delivery_and_sends_none(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    (delivery_id,) = deliver(desk)
    end(desk, "FAILED", delivery_id)
    before = row(desk, delivery_id)
    stranger = make_account(desk.database)
    database, doorbell, number = desk.database, desk.doorbell, stranger.account_id
    assert deliveries.list_page(database, number, Filter(endpoint_id=endpoint_id), before=None, limit=9) == []
    with pytest.raises(DeliveryNotFound):
        deliveries.get(database, number, delivery_id)
    with pytest.raises(DeliveryNotFound):
        deliveries.redeliver(database, doorbell, number, delivery_id)
    with pytest.raises(EndpointNotFound):
        deliveries.send_test(database, doorbell, number, str(endpoint_id))
    with pytest.raises(EndpointNotFound):
        deliveries.replay(database, doorbell, number, str(endpoint_id), {"Since": "2026-01-01T00:00:00Z"})
    everything = Replay(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), None, False)
    with database.transaction() as connection:
        delivery_log.redeliver(connection, number, uuid.UUID(delivery_id))
        assert delivery_log.replay(connection, number, endpoint_id, everything, limit=9) == []
    assert row(desk, delivery_id) == before


@pytest.mark.parametrize("name", ["", "x", str(uuid.UUID(int=0))])
def test_a_delivery_that_is_not_there_is_not_found(desk: Desk, name: str) -> None:
    with pytest.raises(DeliveryNotFound):
        deliveries.get(desk.database, desk.account.account_id, name)


@pytest.mark.parametrize("status", ["FAILED", "SUCCEEDED"])
def test_a_delivery_is_sent_again_with_the_whole_schedule_before_it(
    desk: Desk, bells: redis.Redis, status: str
) -> None:
    make_endpoint(desk.database, desk.account)
    (delivery_id,) = deliver(desk)
    end(desk, status, delivery_id, attempts=7)
    desk.elapse(3600)
    bells.flushall()
    before = row(desk, delivery_id)
    shown = deliveries.redeliver(desk.database, desk.doorbell, desk.account.account_id, delivery_id)
    assert (shown["Status"], shown["Attempts"]) == ("PENDING", 7)
    after = row(desk, delivery_id)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"status", "trigger", "urgent", "round_start", "next_attempt_at", "finished_at"}
    assert (after["trigger"], after["round_start"], after["finished_at"]) == ("MANUAL", 7, None)
    assert after["next_attempt_at"] <= datetime.now(UTC)
    assert bells.llen("webhooks") == 1


def test_a_delivery_to_a_jobs_own_url_can_be_sent_again(desk: Desk) -> None:
    (delivery_id,) = deliver(desk, webhook_url=WEBHOOK_URL)
    end(desk, "FAILED", delivery_id)
    assert (
        deliveries.redeliver(desk.database, desk.doorbell, desk.account.account_id, delivery_id)["Status"] == "PENDING"
    )


def test_a_delivery_that_is_being_sent_is_left_to_its_courier_and_the_caller_told(desk: Desk) -> None:
    make_endpoint(desk.database, desk.account)
    (delivery_id,) = deliver(desk)
    which = schema.deliveries.c.delivery_id == uuid.UUID(delivery_id)
    lease = {"leased_until": sa.func.now() + timedelta(seconds=60), "attempts": 1}
    desk.change(sa.update(schema.deliveries).where(which).values(**lease))
    before = row(desk, delivery_id)
    with pytest.raises(Conflict, match="is being sent"):
        deliveries.redeliver(desk.database, desk.doorbell, desk.account.account_id, delivery_id)
    assert row(desk, delivery_id) == before
    desk.elapse(61)
    deliveries.redeliver(desk.database, desk.doorbell, desk.account.account_id, delivery_id)
    assert row(desk, delivery_id)["round_start"] == 1


def test_nothing_is_sent_to_a_disabled_endpoint(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    (delivery_id,) = deliver(desk)
    end(desk, "FAILED", delivery_id)
    Endpoints(desk.database, CIPHER).disable(desk.account.account_id, str(endpoint_id))
    database, doorbell, number = desk.database, desk.doorbell, desk.account.account_id
    with pytest.raises(Conflict, match="enable it first"):
        deliveries.redeliver(database, doorbell, number, delivery_id)
    with pytest.raises(Conflict, match="enable it first"):
        deliveries.send_test(database, doorbell, number, str(endpoint_id))
    with pytest.raises(Conflict, match="enable it first"):
        replay(desk, endpoint_id)
    assert row(desk, delivery_id)["status"] == "FAILED"


def test_what_waits_for_an_endpoint_that_was_disabled_on_request_tells_no_time(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    (delivery_id,) = deliver(desk)
    Endpoints(desk.database, CIPHER).disable(desk.account.account_id, str(endpoint_id))
    assert receivers.bury(desk.database) == 0
    shown = deliveries.get(desk.database, desk.account.account_id, delivery_id)
    assert shown["Status"] == "PENDING"
    assert "NextAttemptAt" not in shown
    Endpoints(desk.database, CIPHER).enable(desk.account.account_id, str(endpoint_id))
    assert "NextAttemptAt" in deliveries.get(desk.database, desk.account.account_id, delivery_id)


@pytest.mark.parametrize("reason", ["GONE", "FAILING"])
def test_what_waits_for_an_endpoint_that_is_lost_is_a_dead_letter_and_can_be_replayed(desk: Desk, reason: str) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    other, _ = make_endpoint(desk.database, desk.account, event_types=["job.failed", "job.succeeded"])
    deliver(desk, 3)
    sending = desk.rows(schema.deliveries)[0]["delivery_id"]
    lease = {"leased_until": sa.func.now() + timedelta(seconds=60)}
    desk.change(sa.update(schema.deliveries).where(schema.deliveries.c.delivery_id == sending).values(**lease))
    with desk.database.transaction() as connection:
        endpoint_rows.disable(connection, desk.account.account_id, endpoint_id, reason)
    buried = receivers.bury(desk.database)
    desk.elapse(61)
    assert buried + receivers.bury(desk.database) == 3
    assert buried in (2, 3)
    assert len(listed(desk, endpoint_id=endpoint_id, status="FAILED")) == 3
    assert len(listed(desk, endpoint_id=other, status="PENDING")) == 3
    Endpoints(desk.database, CIPHER).enable(desk.account.account_id, str(endpoint_id))
    assert replay(desk, endpoint_id) == 3


def test_a_test_event_goes_to_its_endpoint_whatever_that_wants(desk: Desk, bells: redis.Redis) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    make_endpoint(desk.database, desk.account)
    shown = deliveries.send_test(desk.database, desk.doorbell, desk.account.account_id, str(endpoint_id))
    assert (shown["EventType"], shown["EndpointId"], shown["Status"]) == ("webhook.test", str(endpoint_id), "PENDING")
    assert "JobId" not in shown
    (stored,) = desk.rows(schema.deliveries)
    assert stored["trigger"] == "TEST"
    assert bells.llen("webhooks") == 1


def test_a_replay_makes_each_dead_letter_pending_once(desk: Desk, bells: redis.Redis) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    other, _ = make_endpoint(desk.database, desk.account, event_types=["job.failed"])
    ids = deliver(desk, 6)
    end(desk, "FAILED", *ids[:3])
    end(desk, "SUCCEEDED", ids[3])
    bells.flushall()
    before = len(desk.rows(schema.deliveries))
    assert replay(desk, other) == 0
    assert bells.llen("webhooks") == 0
    assert replay(desk, endpoint_id) == 3
    assert bells.llen("webhooks") == 3
    assert replay(desk, endpoint_id) == 0
    assert replay(desk, endpoint_id, OnlyFailed=False) == 1
    assert len(desk.rows(schema.deliveries)) == before
    assert {stored["status"] for stored in desk.rows(schema.deliveries)} == {"PENDING"}
    assert [row(desk, one)["round_start"] for one in ids] == [10, 10, 10, 10, 0, 0]


def test_replays_at_once_take_each_delivery_once(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    end(desk, "FAILED", *deliver(desk, 20))
    with ThreadPoolExecutor(4) as hands:
        counts = [hands.submit(replay, desk, endpoint_id) for _ in range(4)]
        assert sum(one.result() for one in counts) == 20


def test_a_replay_keeps_to_its_range_and_its_types(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    old = deliver(desk)
    desk.elapse(2 * 86_400)
    middle = deliver(desk)
    desk.elapse(2 * 86_400)
    new = deliver(desk)
    end(desk, "FAILED", *old, *middle, *new)
    now = datetime.now(UTC)
    since, until = (now - timedelta(days=3)).isoformat(), (now - timedelta(days=1)).isoformat()
    assert replay(desk, endpoint_id, Since=since, Until=until, EventTypes=["job.failed"]) == 0
    assert replay(desk, endpoint_id, Since=since, Until=until, EventTypes=["job.failed", "job.succeeded"]) == 1
    assert [row(desk, one)["status"] for one in (*old, *middle, *new)] == ["FAILED", "PENDING", "FAILED"]
    with pytest.raises(ValidationError, match="at most 14 days"):
        replay(desk, endpoint_id, Since=(now - timedelta(days=15)).isoformat())


def test_a_replay_is_bounded_and_takes_the_oldest_first(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    ids = deliver(desk, 5)
    end(desk, "FAILED", *ids)
    everything = Replay(datetime(2020, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC), None, True)
    for left in (3, 1, 0):
        with desk.database.transaction() as connection:
            delivery_log.replay(connection, desk.account.account_id, endpoint_id, everything, limit=2)
        assert listed(desk, status="FAILED") == ids[5 - left :][::-1]


def test_a_replay_brings_forward_what_waits_for_a_retry_and_leaves_what_is_new_or_being_sent(desk: Desk) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    waiting, sending, new = deliver(desk, 3)
    which = schema.deliveries.c.delivery_id
    tried = {"attempts": 4, "next_attempt_at": sa.func.now() + timedelta(hours=10)}
    desk.change(sa.update(schema.deliveries).where(which != uuid.UUID(new)).values(**tried))
    lease = {"leased_until": sa.func.now() + timedelta(seconds=60)}
    desk.change(sa.update(schema.deliveries).where(which == uuid.UUID(sending)).values(**lease))
    assert replay(desk, endpoint_id) == 1
    assert (row(desk, waiting)["round_start"], row(desk, sending)["round_start"]) == (4, 0)
    assert row(desk, waiting)["next_attempt_at"] <= datetime.now(UTC)


def test_a_replay_that_stopped_tells_where_to_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.deliveries.MAX_REPLAYED", 2)
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    ids = []
    for _ in range(3):
        ids += deliver(desk)
        desk.elapse(1)
    end(desk, "SUCCEEDED", *ids)
    asked = (desk.database, desk.doorbell, desk.account.account_id, str(endpoint_id))
    members = {"Since": (datetime.now(UTC) - timedelta(days=1)).isoformat(), "OnlyFailed": False}
    told = deliveries.replay(*asked, members)
    assert told["Deliveries"] == 2
    end(desk, "SUCCEEDED", *ids)
    assert deliveries.replay(*asked, {**members, "Since": told["ReplayedUntil"]})["Deliveries"] == 2
    assert [row(desk, one)["status"] for one in ids] == ["SUCCEEDED", "PENDING", "PENDING"]
    assert deliveries.replay(*asked, members) == {"Deliveries": 1}
