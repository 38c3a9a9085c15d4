"""What an endpoint gets: signed with every live secret, with its own headers, whole or by reference, at its present URL."""

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from app.db import schema
from app.services.endpoints import Endpoints
from tests.desk import Desk
from tests.factories import CIPHER, make_endpoint
from tests.scripted import answer
from tests.sending import deliver, message, receiver
from workers.outbound import USER_AGENT
from workers.runtime import Runtime

RESULT = {"FaceMatches": [{"Similarity": 99.5}]}


def tell(desk: Desk, endpoint_id: uuid.UUID) -> None:
    desk.submit(webhook_endpoint_id=endpoint_id)
    desk.outcomes.succeed(desk.claim(), lambda connection: RESULT)


def sent(desk: Desk, runtime: Runtime, **settings: Any) -> tuple[dict[str, str], bytes, str]:
    """Give headers and body of what an endpoint with these settings gets, and its secret."""
    with receiver(answer(204)) as server:
        endpoint_id, secret = make_endpoint(desk.database, desk.account, url=server.url, **settings)
        tell(desk, endpoint_id)
        deliver(runtime)
    (request,) = server.requests
    return *message(request), secret


def test_an_endpoint_gets_the_stored_bytes_signed_with_its_own_secret(desk: Desk, runtime: Runtime) -> None:
    headers, body, secret = sent(desk, runtime)
    (event,) = desk.rows(schema.events)
    assert body == bytes(event["body"])
    assert Webhook(secret).verify(body, headers)["data"]["Result"] == RESULT
    with pytest.raises(WebhookVerificationError):
        Webhook(desk.account.key.webhook_secret).verify(body, headers)


def test_every_live_secret_signs_the_newest_first_and_no_other(desk: Desk, runtime: Runtime) -> None:
    endpoints, account_id = Endpoints(desk.database, CIPHER), desk.account.account_id
    with receiver(answer(500)) as server:
        endpoint_id, first = make_endpoint(desk.database, desk.account, url=server.url)
        second = endpoints.rotate_secret(account_id, str(endpoint_id), timedelta(seconds=60))["Secret"]
        tell(desk, endpoint_id)
        deliver(runtime)
        third = endpoints.rotate_secret(account_id, str(endpoint_id), timedelta(seconds=60))["Secret"]
        desk.elapse(30)
        deliver(runtime)
        desk.elapse(10_000)
        deliver(runtime)
    headers, body = message(server.requests[0])
    assert len(headers["webhook-signature"].split(" ")) == 2
    newest = headers["webhook-signature"].split(" ")[0]
    assert Webhook(second).verify(body, {**headers, "webhook-signature": newest})
    assert Webhook(first).verify(body, headers)
    headers, body = message(server.requests[1])
    assert len(headers["webhook-signature"].split(" ")) == 3
    for secret in (first, second, third):
        assert Webhook(secret).verify(body, headers)
    headers, body = message(server.requests[2])
    assert len(headers["webhook-signature"].split(" ")) == 1
    assert Webhook(third).verify(body, headers)


def test_an_endpoints_own_headers_are_sent_and_do_not_replace_ours(desk: Desk, runtime: Runtime) -> None:
    headers, body, secret = sent(desk, runtime, headers={"Authorization": "Bearer mine", "X-Team": "faces"})
    assert (headers["authorization"], headers["x-team"]) == ("Bearer mine", "faces")
    assert (headers["user-agent"], headers["content-type"]) == (USER_AGENT, "application/json")
    assert Webhook(secret).verify(body, headers)


def test_by_reference_the_result_stays_with_us_and_every_attempt_sends_the_same_bytes(
    desk: Desk, runtime: Runtime
) -> None:
    with receiver(answer(500), answer(200)) as server:
        endpoint_id, secret = make_endpoint(desk.database, desk.account, url=server.url, payload="REFERENCE")
        tell(desk, endpoint_id)
        deliver(runtime)
        desk.elapse(6)
        deliver(runtime)
    (headers, body), (again_headers, again) = (message(request) for request in server.requests)
    assert body == again
    assert headers["webhook-id"] == again_headers["webhook-id"]
    assert Webhook(secret).verify(body, headers)
    (event,) = desk.rows(schema.events)
    whole, told = json.loads(bytes(event["body"])), json.loads(body)
    assert whole["data"].pop("Result") == RESULT
    assert told == whole


def test_an_endpoint_that_moved_gets_what_was_written_before(desk: Desk, runtime: Runtime) -> None:
    with receiver(answer(200)) as server:
        endpoint_id, _ = make_endpoint(desk.database, desk.account, url="https://old.example.com/")
        tell(desk, endpoint_id)
        moved = sa.update(schema.webhook_endpoints).where(schema.webhook_endpoints.c.endpoint_id == endpoint_id)
        desk.change(moved.values(url=f"{server.url}/new"))
        deliver(runtime)
    assert server.requests[0].startswith(b"POST /new ")


def test_a_courier_that_dies_after_sending_sends_the_same_again(desk: Desk, runtime: Runtime) -> None:
    class Died(BaseException):
        """Nothing is written down any more."""

    with receiver(answer(200)) as server, pytest.MonkeyPatch.context() as patch:
        endpoint_id, secret = make_endpoint(desk.database, desk.account, url=server.url)
        tell(desk, endpoint_id)
        patch.setattr("workers.courier._attempted", _raise(Died))
        with pytest.raises(Died):
            deliver(runtime)
        patch.undo()
        assert not deliver(runtime)
        desk.elapse(61)
        assert deliver(runtime)
    (headers, body), (again_headers, again) = (message(request) for request in server.requests)
    assert (headers["webhook-id"], body) == (again_headers["webhook-id"], again)
    assert Webhook(secret).verify(again, again_headers)
    (delivery,) = desk.rows(schema.deliveries)
    assert (delivery["status"], delivery["attempts"], delivery["leased_until"]) == ("SUCCEEDED", 2, None)


def _raise(error: type[BaseException]) -> Any:
    def raising(*_: object) -> None:
        raise error

    return raising
