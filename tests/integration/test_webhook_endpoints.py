"""Webhook endpoints on Postgres: their secrets at rest, their circuits, and who may see them."""

import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from app.db import deliveries, schema
from app.db import endpoints as rows
from app.domain.endpoints import MAX_ENDPOINTS
from app.domain.receivers import FAILURES_TO_OPEN
from app.encryption import WrongSecretKey
from app.errors import EndpointNotFound, ServiceQuotaExceeded
from app.services import events
from app.services.endpoints import Endpoints
from tests.desk import Desk
from tests.factories import CIPHER, make_account, make_endpoint

DAY = timedelta(days=1)


@pytest.fixture
def endpoints(desk: Desk) -> Endpoints:
    return Endpoints(desk.database, CIPHER)


def live_secrets(desk: Desk, endpoint_id: uuid.UUID) -> list[str]:
    """Give the secrets that sign messages to an endpoint, newest first, as a courier takes them."""
    with desk.database.transaction() as connection, connection.begin_nested() as savepoint:
        delivery_id = uuid.UUID(events.publish_test(connection, desk.account.account_id, endpoint_id))
        claims = deliveries.claim(connection, lease=timedelta(), limit=64)
        (sealed,) = [claim.secrets for claim in claims if claim.delivery_id == delivery_id]
        savepoint.rollback()
    return [CIPHER.decrypt(bytes(one), owner=f"endpoint {endpoint_id}") for one in sealed]


def fail(desk: Desk, endpoint_id: uuid.UUID, **state: Any) -> None:
    """Let an endpoint have failed so often."""
    whose = {"account_id": desk.account.account_id, "receiver": str(endpoint_id)}
    desk.change(sa.insert(schema.receivers).values(**whose, failing_since=sa.func.now(), **state))


def test_a_secret_and_headers_rest_encrypted_and_bound_to_their_endpoint(desk: Desk, endpoints: Endpoints) -> None:
    headers = {"Authorization": "Bearer hush"}
    endpoint_id, secret = make_endpoint(desk.database, desk.account, headers=headers)
    (row,) = [row for row in desk.rows(schema.webhook_endpoints) if row["endpoint_id"] == endpoint_id]
    (stored,) = [row for row in desk.rows(schema.webhook_secrets) if row["endpoint_id"] == endpoint_id]
    assert secret.startswith("whsec_")
    for kept in (row["headers"], stored["secret"]):
        assert b"hush" not in bytes(kept)
        assert secret.encode() not in bytes(kept)
        with pytest.raises(WrongSecretKey):
            CIPHER.decrypt(bytes(kept), owner=f"endpoint {uuid.uuid4()}")
    assert live_secrets(desk, endpoint_id) == [secret]
    shown = endpoints.get(desk.account.account_id, str(endpoint_id))
    assert shown["HeaderNames"] == ["Authorization"]
    assert "hush" not in str(shown)
    assert secret not in str(shown)


def test_what_is_not_said_has_defaults(desk: Desk, endpoints: Endpoints) -> None:
    shown, _ = endpoints.create(desk.account.account_id, {"url": "https://example.com/"})
    uuid.UUID(shown.pop("EndpointId"))
    assert shown.pop("CreatedAt") == shown.pop("UpdatedAt")
    assert shown == {
        "Url": "https://example.com/",
        "Description": "",
        "HeaderNames": [],
        "Payload": "FULL",
        "Status": "ENABLED",
        "Health": {"State": "CLOSED", "ConsecutiveFailures": 0},
    }


def test_a_change_leaves_what_it_does_not_name(desk: Desk, endpoints: Endpoints) -> None:
    account_id, settings = desk.account.account_id, {"event_types": ["job.failed"], "headers": {"X-A": "b"}}
    endpoint_id, _ = make_endpoint(desk.database, desk.account, description="ours", **settings)
    before = endpoints.get(account_id, str(endpoint_id))
    assert endpoints.change(account_id, str(endpoint_id), {}) == before
    desk.elapse(1)
    after = endpoints.change(account_id, str(endpoint_id), {"payload": "REFERENCE"})
    assert {name for name in after if after[name] != before.get(name)} == {"Payload", "UpdatedAt", "CreatedAt"}
    assert after["UpdatedAt"] > after["CreatedAt"]
    cleared = endpoints.change(account_id, str(endpoint_id), {"event_types": None, "headers": None})
    assert "EventTypes" not in cleared
    assert cleared["HeaderNames"] == []
    assert cleared["Description"] == "ours"


def test_endpoints_are_listed_newest_first_and_those_of_others_not_at_all(desk: Desk, endpoints: Endpoints) -> None:
    mine = [str(make_endpoint(desk.database, desk.account)[0]) for _ in range(3)]
    make_endpoint(desk.database, make_account(desk.database))
    shown = endpoints.list_page(desk.account.account_id, before=None, limit=100)
    assert [one["EndpointId"] for one in shown] == mine[::-1]
    rest = endpoints.list_page(desk.account.account_id, before=uuid.UUID(mine[2]), limit=1)
    assert [one["EndpointId"] for one in rest] == [mine[1]]


def test_another_account_can_do_nothing_with_an_endpoint(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, secret = make_endpoint(desk.database, desk.account)
    before = endpoints.get(desk.account.account_id, str(endpoint_id))
    stranger, name = make_account(desk.database).account_id, str(endpoint_id)
    for attempt in (
        lambda: endpoints.get(stranger, name),
        lambda: endpoints.change(stranger, name, {"url": "https://evil.example/"}),
        lambda: endpoints.enable(stranger, name),
        lambda: endpoints.disable(stranger, name),
        lambda: endpoints.delete(stranger, name),
        lambda: endpoints.rotate_secret(stranger, name, DAY),
    ):
        with pytest.raises(EndpointNotFound):
            attempt()
    assert endpoints.get(desk.account.account_id, name) == before
    assert live_secrets(desk, endpoint_id) == [secret]


@pytest.mark.parametrize("name", ["", "x", "00000000-0000-0000-0000-000000000000"])
def test_an_endpoint_that_is_not_there_is_not_found(desk: Desk, endpoints: Endpoints, name: str) -> None:
    with pytest.raises(EndpointNotFound):
        endpoints.get(desk.account.account_id, name)


def test_an_account_has_a_bounded_number_of_endpoints_however_they_are_made(desk: Desk, endpoints: Endpoints) -> None:
    together = threading.Barrier(8)

    def make(_: int) -> int:
        together.wait()
        made = 0
        for _ in range(5):
            try:
                endpoints.create(desk.account.account_id, {"url": "https://example.com/"})
                made += 1
            except ServiceQuotaExceeded:
                pass
        return made

    with ThreadPoolExecutor(8) as makers:
        assert sum(makers.map(make, range(8))) == MAX_ENDPOINTS
    assert len(endpoints.list_page(desk.account.account_id, before=None, limit=100)) == MAX_ENDPOINTS
    make_endpoint(desk.database, make_account(desk.database))  # others are not concerned


def test_a_rotation_lets_the_old_secret_sign_for_a_while(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, old = make_endpoint(desk.database, desk.account)
    rotated = endpoints.rotate_secret(desk.account.account_id, str(endpoint_id), timedelta(seconds=60))
    assert rotated.keys() == {"EndpointId", "Secret", "PreviousSecretsExpireAt"}
    assert live_secrets(desk, endpoint_id) == [rotated["Secret"], old]
    desk.elapse(59)
    assert live_secrets(desk, endpoint_id) == [rotated["Secret"], old]
    desk.elapse(2)
    assert live_secrets(desk, endpoint_id) == [rotated["Secret"]]


def test_a_rotation_without_overlap_ends_every_earlier_secret(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    endpoints.rotate_secret(desk.account.account_id, str(endpoint_id), DAY)
    rotated = endpoints.rotate_secret(desk.account.account_id, str(endpoint_id), timedelta())
    assert rotated.keys() == {"EndpointId", "Secret"}
    assert live_secrets(desk, endpoint_id) == [rotated["Secret"]]
    assert len([row for row in desk.rows(schema.webhook_secrets) if row["endpoint_id"] == endpoint_id]) == 1


def test_a_later_rotation_does_not_lengthen_the_life_of_an_older_secret(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, first = make_endpoint(desk.database, desk.account)
    account_id, name = desk.account.account_id, str(endpoint_id)
    second = endpoints.rotate_secret(account_id, name, timedelta(seconds=60))["Secret"]
    third = endpoints.rotate_secret(account_id, name, DAY)["Secret"]
    assert live_secrets(desk, endpoint_id) == [third, second, first]
    desk.elapse(61)
    assert live_secrets(desk, endpoint_id) == [third, second]


def test_at_most_three_secrets_are_live_even_if_rotations_race(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    with ThreadPoolExecutor(6) as hands:
        work = [
            hands.submit(endpoints.rotate_secret, desk.account.account_id, str(endpoint_id), DAY) for _ in range(12)
        ]
        made = {one.result()["Secret"] for one in work}
    live = live_secrets(desk, endpoint_id)
    assert len(live) == 3
    assert set(live) <= made
    with desk.database.transaction() as connection:
        ends = [
            row.expires_at
            for row in connection.execute(
                sa.select(schema.webhook_secrets.c.expires_at).where(
                    schema.webhook_secrets.c.endpoint_id == endpoint_id
                )
            )
        ]
    assert ends.count(None) == 1  # the newest


def test_an_endpoint_is_disabled_and_enabled(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    account_id, name = desk.account.account_id, str(endpoint_id)
    off = endpoints.disable(account_id, name)
    assert (off["Status"], off["DisabledReason"]) == ("DISABLED", "REQUESTED")
    desk.elapse(60)
    again = endpoints.disable(account_id, name)
    assert again["DisabledAt"] < off["DisabledAt"]  # as it was, a minute ago
    on = endpoints.enable(account_id, name)
    assert on["Status"] == "ENABLED"
    assert not on.keys() & {"DisabledReason", "DisabledAt"}
    assert on["Health"] == {"State": "CLOSED", "ConsecutiveFailures": 0}


def test_a_request_to_disable_does_not_hide_that_the_endpoint_failed(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    with desk.database.transaction() as connection:
        rows.disable(connection, desk.account.account_id, endpoint_id, "FAILING")
    assert endpoints.disable(desk.account.account_id, str(endpoint_id))["DisabledReason"] == "FAILING"


@pytest.mark.parametrize(("failures", "after"), [(1, FAILURES_TO_OPEN), (60, 60)])
def test_an_endpoint_that_failed_begins_again_with_a_probe(
    desk: Desk, endpoints: Endpoints, failures: int, after: int
) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    fail(desk, endpoint_id, failures=failures, warned_at=sa.func.now(), concurrency=2)
    endpoints.disable(desk.account.account_id, str(endpoint_id))
    health = endpoints.enable(desk.account.account_id, str(endpoint_id))["Health"]
    assert health == {"State": "HALF_OPEN", "ConsecutiveFailures": after}
    (memory,) = [row for row in desk.rows(schema.receivers) if row["receiver"] == str(endpoint_id)]
    assert (memory["failing_since"], memory["warned_at"], memory["concurrency"]) == (None, None, 1)


def test_a_new_address_is_tried_at_once_and_the_same_one_is_not(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account, url="https://example.com/old")
    fail(desk, endpoint_id, failures=7, open_until=sa.func.now() + timedelta(minutes=2))
    account_id, name = desk.account.account_id, str(endpoint_id)
    health = endpoints.change(account_id, name, {"url": "https://example.com/old"})["Health"]
    assert (health["State"], health["ConsecutiveFailures"]) == ("OPEN", 7)
    assert health["OpenUntil"] > health["FailingSince"]
    assert endpoints.change(account_id, name, {"url": "https://example.com/new"})["Health"]["State"] == "HALF_OPEN"


def test_a_deleted_endpoint_leaves_nothing(desk: Desk, endpoints: Endpoints) -> None:
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    kept, _ = make_endpoint(desk.database, desk.account)
    for _ in range(3):
        desk.submit(tells_endpoints=True)
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
    fail(desk, endpoint_id, failures=2)
    endpoints.delete(desk.account.account_id, str(endpoint_id))
    with pytest.raises(EndpointNotFound):
        endpoints.get(desk.account.account_id, str(endpoint_id))
    assert {row["endpoint_id"] for row in desk.rows(schema.deliveries)} == {kept}
    assert endpoint_id not in {row["endpoint_id"] for row in desk.rows(schema.webhook_secrets)}
    assert str(endpoint_id) not in {row["receiver"] for row in desk.rows(schema.receivers)}
    assert len(desk.rows(schema.events)) == 3


def test_an_endpoint_with_many_deliveries_is_deleted_in_steps(
    desk: Desk, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.endpoints._DELETED_AT_ONCE", 2)
    endpoint_id, _ = make_endpoint(desk.database, desk.account)
    for _ in range(5):
        desk.submit(tells_endpoints=True)
        desk.outcomes.succeed(desk.claim(), lambda connection: {})
    with desk.database.transaction() as connection:
        assert rows.delete_deliveries(connection, desk.account.account_id, endpoint_id, limit=2) == 2
    endpoints.delete(desk.account.account_id, str(endpoint_id))
    assert desk.rows(schema.deliveries) == []


def test_a_job_can_end_while_its_endpoint_is_deleted(desk: Desk, endpoints: Endpoints) -> None:
    for _ in range(10):
        endpoint_id, _ = make_endpoint(desk.database, desk.account)
        desk.submit(tells_endpoints=True)
        claim = desk.claim()
        with ThreadPoolExecutor(2) as hands:
            ended = hands.submit(desk.outcomes.succeed, claim, lambda connection: {})
            gone = hands.submit(endpoints.delete, desk.account.account_id, str(endpoint_id))
            assert ended.result()
            gone.result()
    assert desk.rows(schema.deliveries) == []
