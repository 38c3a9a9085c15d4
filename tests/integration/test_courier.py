"""Deliveries, carried by the courier to a real receiver: at least once, the same message every time, on the schedule."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from app.db import deliveries, schema
from app.domain.webhooks import LEASE, MAX_ATTEMPTS, RETRY_SCHEDULE
from tests.desk import Desk
from tests.scripted import answer
from tests.sending import deliver, message, receiver
from workers.runtime import Runtime


def end_a_job(desk: Desk, url: str) -> None:
    desk.submit(webhook_url=url)
    assert desk.outcomes.succeed(desk.claim(), lambda connection: {"FaceRecords": []})


def the_delivery(desk: Desk) -> dict[str, Any]:
    (delivery,) = desk.rows(schema.deliveries)
    return delivery


def attempts(desk: Desk) -> list[tuple[Any, ...]]:
    rows = sorted(desk.rows(schema.delivery_attempts), key=lambda row: row["attempt"])
    return [(row["attempt"], row["status_code"], row["error"]) for row in rows]


def pause(desk: Desk) -> float:
    """Give the seconds until the next attempt."""
    left: timedelta = the_delivery(desk)["next_attempt_at"] - datetime.now(UTC)
    return left.total_seconds()


def test_the_receiver_gets_the_stored_bytes_with_a_good_signature(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(204)) as server:
        end_a_job(desk, server.url)
        deliver(runtime)
        deliver(runtime)
    (request,) = server.requests
    headers, body = message(request)
    (event,) = desk.rows(schema.events)
    assert body == bytes(event["body"])
    assert headers["webhook-id"] == event["event_id"]
    assert Webhook(desk.account.key.webhook_secret).verify(body, headers)["type"] == "job.succeeded"
    assert (the_delivery(desk)["status"], the_delivery(desk)["attempts"]) == ("SUCCEEDED", 1)
    assert the_delivery(desk)["finished_at"] is not None
    assert attempts(desk) == [(1, 204, None)]


def test_there_is_no_delivery_to_make(runtime: Runtime) -> None:
    deliver(runtime)


def test_a_failed_attempt_is_made_again_with_the_same_message(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(500, b"try later"), answer(200)) as server:
        end_a_job(desk, server.url)
        deliver(runtime)
        assert the_delivery(desk)["status"] == "PENDING"
        deliver(runtime)
        assert len(server.requests) == 1, "not before its time"
        desk.elapse(6)
        deliver(runtime)
    (first_headers, first_body), (headers, body) = (message(request) for request in server.requests)
    assert (headers["webhook-id"], body) == (first_headers["webhook-id"], first_body)
    assert the_delivery(desk)["status"] == "SUCCEEDED"
    assert attempts(desk) == [(1, 500, "the server answered 500"), (2, 200, None)]
    kept = sorted((row["attempt"], bytes(row["answer"])) for row in desk.rows(schema.delivery_attempts))
    assert kept == [(1, b"try later"), (2, b"")]


@pytest.mark.parametrize(("chance", "share"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
def test_the_attempts_keep_to_the_schedule_and_end(desk: Desk, runtime: Runtime, chance: float, share: float) -> None:
    with receiver(answer(503)) as server:
        end_a_job(desk, server.url)
        for step in RETRY_SCHEDULE:
            deliver(runtime, chance)
            assert pause(desk) == pytest.approx(step.total_seconds() * share, abs=2)
            desk.elapse(step.total_seconds() * 1.2)
        deliver(runtime, chance)
        assert (the_delivery(desk)["status"], the_delivery(desk)["attempts"]) == ("FAILED", MAX_ATTEMPTS)
        desk.elapse(1_000_000)
        deliver(runtime, chance)
    assert len(server.requests) == len(attempts(desk)) == MAX_ATTEMPTS


def test_gone_is_the_end(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(410)) as server:
        end_a_job(desk, server.url)
        deliver(runtime)
        desk.elapse(1_000_000)
        deliver(runtime)
    assert len(server.requests) == 1
    assert the_delivery(desk)["status"] == "FAILED"


@pytest.mark.parametrize(("asked", "kept"), [("8", 8), ("1", 5), ("999999999", 10)])
def test_a_receiver_may_ask_for_twice_the_pause_at_most(desk: Desk, runtime: Runtime, asked: str, kept: float) -> None:
    with receiver(answer(429, Retry_After=asked)) as server:
        end_a_job(desk, server.url)
        deliver(runtime)
    assert pause(desk) == pytest.approx(kept, abs=2)


def test_a_receiver_that_may_not_be_reached_is_written_down(desk: Desk, runtime: Runtime) -> None:
    end_a_job(desk, "https://10.0.0.1/hook")
    deliver(runtime)
    assert attempts(desk) == [(1, None, "the URL's host has no public address")]
    assert the_delivery(desk)["status"] == "PENDING"


def test_a_delivery_whose_courier_died_is_made_by_another(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(200)) as server:
        end_a_job(desk, server.url)
        with runtime.database.transaction() as connection:
            (taken,) = deliveries.claim(connection, lease=LEASE, limit=1)
        desk.elapse(LEASE.total_seconds() - 1)
        deliver(runtime)
        assert server.requests == []
        desk.elapse(2)
        deliver(runtime)
    headers, body = message(server.requests[0])
    assert (headers["webhook-id"], body) == (taken.event_id, bytes(taken.body))
    assert attempts(desk) == [(1, None, None), (2, 200, None)]
    assert (the_delivery(desk)["status"], the_delivery(desk)["attempts"]) == ("SUCCEEDED", 2)


@pytest.mark.parametrize("meanwhile", [200, 410, 500])
@pytest.mark.parametrize("late", ["PENDING", "FAILED", "SUCCEEDED"])
def test_a_late_courier_does_not_undo_a_newer_attempt(desk: Desk, runtime: Runtime, late: str, meanwhile: int) -> None:
    with receiver(answer(meanwhile)) as server:
        end_a_job(desk, server.url)
        with runtime.database.transaction() as connection:
            (taken,) = deliveries.claim(connection, lease=LEASE, limit=1)
        desk.elapse(LEASE.total_seconds() + 1)
        deliver(runtime)
    before = the_delivery(desk)
    told = {"status_code": 202, "error": "late", "milliseconds": 1, "answer": b""}
    rest = timedelta(seconds=5) if late == "PENDING" else None
    with runtime.database.transaction() as connection:
        deliveries.record(connection, taken.delivery_id, 1, told, status=late, pause=rest)
    assert the_delivery(desk) == before
    assert [row[:2] for row in attempts(desk)] == [(1, 202), (2, meanwhile)]


def test_couriers_share_the_deliveries(desk: Desk) -> None:
    for number in range(30):
        end_a_job(desk, f"https://{number}.example.com/")
    together = threading.Barrier(8)

    def take() -> list[str] | None:
        with desk.database.transaction() as connection:
            return [row.url for row in deliveries.claim(connection, lease=LEASE, limit=3)] or None

    def work(_: int) -> list[str]:
        together.wait()
        return [url for urls in iter(take, None) for url in urls]

    with ThreadPoolExecutor(8) as couriers:
        taken = [url for share in couriers.map(work, range(8)) for url in share]
    assert sorted(taken) == sorted(f"https://{number}.example.com/" for number in range(30))
    assert len(desk.rows(schema.delivery_attempts)) == 30


def test_the_delivery_that_is_due_the_longest_goes_first(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(200)) as server:
        for path in ("first", "second"):
            end_a_job(desk, f"{server.url}/{path}")
            desk.elapse(1)
        deliver(runtime)
        deliver(runtime)
    assert [request.split(b" ")[1] for request in server.requests] == [b"/first", b"/second"]
