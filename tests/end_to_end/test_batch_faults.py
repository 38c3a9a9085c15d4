"""Batches while workers, beat and the API are killed: complete, nothing twice, one completion event."""

import json
import random
import signal
import time

import pytest

from tests.faults.faulty import COLLECTION, FaultyStack

pytestmark = pytest.mark.models

ITEMS = 120
VICTIMS = ("worker-1", "worker-2", "beat", "api", "courier")


def submit(faulty: FaultyStack, count: int) -> str:
    items = [
        {
            "CustomId": str(number),
            "Input": {"Image": {"Url": f"{faulty.pictures.url}/{number}.jpg"}, "ExternalImageId": f"batch-{number}"},
        }
        for number in range(count)
    ]
    body = {
        "Operation": "IndexFaces",
        "Defaults": {"CollectionId": COLLECTION},
        "Items": items,
        "Webhook": {"Url": faulty.hooks.url},
    }
    faulty.until(faulty.live.stack.ready, "an api that was killed is there again")
    answer = faulty.live.call("POST", "/v1/batches", body)
    assert answer.status == 202, answer.body
    batch_id: str = answer.json["BatchId"]
    return batch_id


def is_done(faulty: FaultyStack, batch_id: str) -> bool:
    return bool(faulty.live.query("SELECT 1 FROM batches WHERE batch_id = %s AND finished_at IS NOT NULL", batch_id))


def ended(faulty: FaultyStack, batch_id: str) -> int:
    ((count,),) = faulty.live.query(
        "SELECT count(*) FROM batch_items WHERE batch_id = %s AND ended_no IS NOT NULL", batch_id
    )
    return int(count)


def messages(faulty: FaultyStack, batch_id: str) -> set[str]:
    """Name the events that were told of a batch."""
    return {
        message.headers["webhook-id"]
        for message in faulty.hooks.messages
        if json.loads(message.body)["data"].get("BatchId") == batch_id
    }


def assert_whole(faulty: FaultyStack, batch_id: str, count: int) -> None:
    """Assert what holds after any fault: every item ended once, every picture was indexed once, one event."""
    query = faulty.live.query
    assert query("SELECT status, total, succeeded, failed, running FROM batches WHERE batch_id = %s", batch_id) == [
        ("SUCCEEDED", count, count, 0, 0)
    ]
    numbers = query("SELECT ended_no FROM batch_items WHERE batch_id = %s ORDER BY ended_no", batch_id)
    assert numbers == [(number,) for number in range(1, count + 1)]
    faces = query("SELECT external_image_id, count(*) FROM faces WHERE external_image_id LIKE 'batch-%%' GROUP BY 1")
    assert len(faces) == count
    assert {many for _, many in faces} == {1}
    assert query("SELECT 1 FROM batch_leases") == []
    ((event_id,),) = query("SELECT event_id FROM events WHERE batch_id = %s", batch_id)
    faulty.until(lambda: messages(faulty, batch_id), "the webhook arrives")
    assert messages(faulty, batch_id) == {event_id}


def test_a_batch_is_completed_once_whatever_is_killed(faulty: FaultyStack) -> None:
    chance = random.Random(5)  # noqa: S311 - the same victims each time
    batch_id = submit(faulty, ITEMS)
    faulty.until(lambda: ended(faulty, batch_id) > 0, "the batch begins")
    deadline = time.monotonic() + 12
    while not is_done(faulty, batch_id) and time.monotonic() < deadline:
        faulty.send(signal.SIGKILL, chance.choice(VICTIMS))
        pause = time.monotonic() + chance.uniform(0.5, 2.0)
        faulty.until(lambda until=pause: time.monotonic() > until, "a moment passes")
        faulty.live.query("UPDATE batch_leases SET heartbeat_at = heartbeat_at - interval '5 seconds'")
    faulty.until(lambda: is_done(faulty, batch_id), "the batch ends", seconds=90)
    faulty.let_deliveries_be_due()
    assert_whole(faulty, batch_id, ITEMS)


def test_an_interactive_job_starts_at_once_beside_a_batch(faulty: FaultyStack) -> None:
    batch_id = submit(faulty, 400)
    faulty.until(lambda: ended(faulty, batch_id) > 0, "the batch begins")
    jobs = [faulty.finished(faulty.search()) for _ in range(5)]
    starts = faulty.live.query(
        "SELECT extract(epoch FROM started_at - created_at)::float8 FROM jobs WHERE job_id = ANY(%s::uuid[])",
        [job["JobId"] for job in jobs],
    )
    assert not is_done(faulty, batch_id)
    assert max(seconds for (seconds,) in starts) < 0.5, starts
    faulty.live.call("POST", f"/v1/batches/{batch_id}/cancel")
    faulty.until(lambda: is_done(faulty, batch_id), "the batch is canceled")
    ((status,),) = faulty.live.query("SELECT status FROM batches WHERE batch_id = %s", batch_id)
    assert status == "CANCELED"
