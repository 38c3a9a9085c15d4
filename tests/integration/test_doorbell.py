"""Doorbells on a real Valkey: what a bell says, when it is rung again, and that a broken one costs a moment and no job."""

import base64
import json
import time
from pathlib import Path

import pytest
import redis
from celery import Celery

from app.broker import RUN_NEXT, Doorbell, create_celery
from app.db import schema
from app.domain.jobs import LEASE, Lane
from app.local.valkey import LocalValkey
from app.services import jobs
from tests.desk import WEBHOOK_URL, Desk
from tests.factories import make_submission
from tests.patience import wait_until


def ring_again(desk: Desk, bells: redis.Redis) -> tuple[int, int]:
    """Sweep, and count the new bells of the lanes interactive and webhooks."""
    bells.flushall()
    jobs.ring_again(desk.database, desk.doorbell)
    return bells.llen("interactive"), bells.llen("webhooks")


def test_a_bell_names_a_lane_and_nothing_else(desk: Desk, bells: redis.Redis) -> None:
    job = desk.submit(webhook_url=WEBHOOK_URL, caller_metadata={"order": "secret order"})
    (bell,) = bells.lrange("interactive", 0, -1)
    message = json.loads(bell)
    args, kwargs, _ = json.loads(base64.b64decode(message["body"]))
    assert (message["headers"]["task"], args, kwargs) == (RUN_NEXT, ["interactive"], {})
    spoken = bell + base64.b64decode(message["body"])
    for secret in (job.job_id, desk.account.name, "secret order", WEBHOOK_URL, "people"):
        assert secret.encode() not in spoken


def test_a_bell_that_nobody_heard_is_rung_again_after_two_seconds(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    desk.elapse(1.5)
    assert ring_again(desk, bells) == (0, 0)
    desk.elapse(0.6)
    assert ring_again(desk, bells) == (1, 0)
    assert ring_again(desk, bells) == (0, 0)
    desk.elapse(2.1)
    assert ring_again(desk, bells) == (1, 0)


def test_each_waiting_job_has_its_bell_up_to_a_limit(desk: Desk, bells: redis.Redis) -> None:
    for _ in range(70):
        desk.submit()
    desk.elapse(3)
    assert ring_again(desk, bells) == (64, 0)
    assert ring_again(desk, bells) == (6, 0)


def test_a_running_job_is_not_rung_for(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    desk.claim()
    desk.elapse(5)
    assert ring_again(desk, bells) == (0, 0)


def test_a_rescued_job_is_rung_for_by_the_same_sweep(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    desk.claim()
    desk.elapse(LEASE.total_seconds() + 1)
    desk.outcomes.rescue()
    assert ring_again(desk, bells) == (1, 0)


def test_a_job_in_its_pause_is_rung_for_when_the_pause_is_over(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    desk.retry(desk.claim())
    desk.elapse(0.8)
    assert ring_again(desk, bells) == (0, 0)
    desk.elapse(0.3)
    assert ring_again(desk, bells) == (1, 0)


def test_due_deliveries_are_rung_for(desk: Desk, bells: redis.Redis) -> None:
    for number in range(3):
        desk.submit(webhook_url=f"https://{number}.example.com/")
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
    assert ring_again(desk, bells) == (0, 3)
    desk.change(schema.deliveries.update().values(status="SUCCEEDED"))
    assert ring_again(desk, bells) == (0, 0)


def test_without_redis_a_job_is_submitted_within_moments(desk: Desk, tmp_path: Path) -> None:
    deaf = Doorbell(create_celery(f"redis+socket://{tmp_path}/nobody.sock"))
    began = time.monotonic()
    for _ in range(5):
        job, _ = jobs.submit(desk.database, deaf, make_submission(desk.account.account_id))
        assert desk.get(job.job_id) == job
    assert time.monotonic() - began < 1.8
    assert not deaf.answers()


def test_a_bell_after_redis_came_back_is_heard(tmp_path: Path) -> None:
    server = LocalValkey(tmp_path)
    server.start()
    celery = create_celery(server.url)
    doorbell = Doorbell(celery)
    assert doorbell.ring(Lane.BULK)
    server.kill()
    assert not doorbell.ring(Lane.BULK)
    server.start()
    assert not doorbell.ring(Lane.BULK), "right after a failure the broker is left alone"
    wait_until(lambda: doorbell.ring(Lane.BULK))
    celery.close()
    server.stop()


def test_a_redis_that_is_full_costs_no_job(desk: Desk, celery: Celery, bells: redis.Redis) -> None:
    bells.config_set("maxmemory", "1")
    try:
        assert desk.submit().job_id
        assert not Doorbell(celery).ring(Lane.BULK)
    finally:
        bells.config_set("maxmemory", "256mb")
    assert Doorbell(celery).ring(Lane.BULK)


def test_a_lane_that_nobody_listens_to_holds_so_many_bells_and_no_more(
    celery: Celery, bells: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.broker._MOST_BELLS", 5)
    doorbell = Doorbell(celery)
    for _ in range(3):
        assert doorbell.ring(Lane.BULK, 3)
    assert bells.llen("bulk") == 5


def test_a_bell_does_not_say_when_it_is_worthless(desk: Desk, bells: redis.Redis) -> None:
    desk.submit()
    (bell,) = bells.lrange("interactive", 0, -1)
    assert json.loads(bell)["headers"]["expires"] is None, "a worker whose clock is ahead would not hear it"
