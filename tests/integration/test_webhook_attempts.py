"""One attempt at a delivery, against real receivers; the published verifier judges what they get."""

import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from app.domain.addresses import parse_networks
from app.domain.signatures import new_secret
from app.domain.webhooks import KEPT_ANSWER_BYTES
from tests.scripted import Script, ScriptedServer, answer, hang, raw
from workers import outbound, webhooks
from workers.outbound import USER_AGENT, Dialer
from workers.webhooks import Delivery, Outcome

DIALER = Dialer(parse_networks(["127.0.0.0/8"]))
NOW = 1_800_000_000
BODY = b'{"type": "job.succeeded", "data": {"Name": "\xc3\xa4"}}'


def delivery(url: str, **changes: object) -> Delivery:
    values = {"event_id": "evt_1", "url": url, "secrets": (new_secret(),), "body": BODY}
    return Delivery(**(values | changes))  # type: ignore[arg-type]


def attempt(script: Script) -> Outcome:
    with ScriptedServer(script) as server:
        return webhooks.attempt(DIALER, delivery(server.url), NOW)


def test_the_receiver_can_verify_what_it_gets() -> None:
    secret = new_secret()
    with ScriptedServer(answer(204)) as server:
        message = delivery(f"{server.url}/hook?a=b", secrets=(secret,))
        outcome = webhooks.attempt(DIALER, message, int(time.time()))
    assert outcome.succeeded
    body = server.requests[0].partition(b"\r\n\r\n")[2]
    assert body == BODY
    assert Webhook(secret).verify(body, server.headers)["type"] == "job.succeeded"


def test_the_headers_are_those_of_the_specification() -> None:
    with ScriptedServer(answer(200)) as server:
        webhooks.attempt(DIALER, delivery(f"{server.url}/hook"), NOW)
    headers = server.headers
    assert server.requests[0].startswith(b"POST /hook HTTP/1.1\r\n")
    assert headers["webhook-id"] == "evt_1"
    assert headers["webhook-timestamp"] == str(NOW)
    assert headers["webhook-signature"].startswith("v1,")
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"] == USER_AGENT
    assert USER_AGENT.startswith("Rekollect/")


def test_a_retry_has_the_same_id_and_its_own_time() -> None:
    with ScriptedServer(answer(500)) as server:
        message = delivery(server.url)
        for number in range(2):
            webhooks.attempt(DIALER, message, NOW + number)
    first, second = server.requests
    assert all(b"webhook-id: evt_1\r\n" in request for request in (first, second))
    assert f"webhook-timestamp: {NOW + 1}\r\n".encode() in second
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_every_2xx_is_a_success(status: int) -> None:
    outcome = attempt(answer(status, Retry_After="5"))
    assert outcome == Outcome(True, status, milliseconds=outcome.milliseconds, address="127.0.0.1")
    assert outcome.milliseconds > 0


@pytest.mark.parametrize("status", [301, 302, 308, 400, 401, 404, 410, 429, 500, 503])
def test_everything_else_is_a_failure_and_gone_is_the_end(status: int) -> None:
    outcome = attempt(answer(status, b"why", Location="http://127.0.0.1:1/"))
    assert (outcome.succeeded, outcome.status, outcome.answer) == (False, status, b"why")
    assert outcome.error == f"the server answered {status}"
    assert outcome.kind == "status"
    assert outcome.gone is (status == 410)
    assert outcome.overloaded is (status in (429, 503))


def test_the_first_bytes_of_the_answer_are_kept() -> None:
    outcome = attempt(answer(200, b"a" * 1_000_000))
    assert outcome.succeeded
    assert outcome.answer == b"a" * KEPT_ANSWER_BYTES


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("0", 0),
        ("9" * 500, 86_400),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(seconds=90), usegmt=True), 90),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) - timedelta(days=1), usegmt=True), 0),
        (format_datetime(datetime.fromtimestamp(NOW, UTC) + timedelta(days=9), usegmt=True), 86_400),
        ("Wed, 21 Oct 2015 07:28:00", 0),
        ("-5", None),
        ("soon", None),
        ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
        ("1.5", None),
        ("", None),
    ],
)
def test_retry_after_is_read(text: str, seconds: float | None) -> None:
    assert attempt(answer(429, Retry_After=text)).retry_after_seconds == seconds


@given(text=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=40))
@hypothesis_settings(suppress_health_check=[HealthCheck.too_slow])
def test_no_retry_after_breaks_the_attempt(text: str) -> None:
    response = outbound.Response(503, {"retry-after": text}, b"", False, 0.1, "127.0.0.1")
    seconds = webhooks._outcome(response, 1, NOW).retry_after_seconds
    assert seconds is None or 0 <= seconds <= 86_400


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        (raw(b""), "reset", "the server closed the connection early"),
        (raw(b"nonsense\r\n"), "protocol", "the server did not answer in HTTP/1.1"),
        (hang, "timeout", "the server did not answer in time"),
    ],
    ids=["closed", "nonsense", "silent"],
)
def test_no_answer_is_a_failure_that_is_tried_again(script: Script, kind: str, error: str) -> None:
    class Impatient(Dialer):
        def post(self, url: str, body: bytes, headers: object, **_: object) -> outbound.Response:
            return super().post(url, body, headers, deadline_seconds=0.3)  # type: ignore[arg-type]

    with ScriptedServer(script) as server:
        outcome = webhooks.attempt(Impatient(parse_networks(["127.0.0.1"])), delivery(server.url), NOW)
    milliseconds = outcome.milliseconds
    assert outcome == Outcome(False, kind=kind, error=error, milliseconds=milliseconds, address="127.0.0.1")
    assert outcome.overloaded is (kind == "timeout")


def test_a_denied_receiver_is_not_reached() -> None:
    with ScriptedServer(answer(200)) as canary:
        outcome = webhooks.attempt(Dialer(()), delivery(f"https://127.0.0.1:{canary.port}/"), NOW)
    assert (outcome.succeeded, outcome.status, outcome.kind, outcome.address) == (False, None, "refused", None)
    assert outcome.error == "the URL's host has no public address"
    assert canary.connections == 0


def test_secrets_and_bodies_are_not_in_the_text_of_a_delivery() -> None:
    message = delivery("https://example.com/", secrets=("whsec_hidden",), body=b"hidden")
    assert "hidden" not in repr(message)
