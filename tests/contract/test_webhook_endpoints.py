"""/v1/webhooks over HTTP: an endpoint's life, what is told to it, the log of that, and what is refused."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.api.documents import MAX_BODY_BYTES
from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.test_webhooks import Receiver, in_turn
from tests.contract.wire import problem, says_too_much, send, signed
from tests.live import Answer, LiveStack
from tests.patience import wait_until
from tests.scripted import answer

ENDPOINTS = "/v1/webhooks/endpoints"
DELIVERIES = "/v1/webhooks/deliveries"
URL = "https://example.com/hook"
NOWHERE = "00000000-0000-0000-0000-000000000000"


class Owner:
    """A caller with an account of its own, so that other tests' jobs are not told here."""

    def __init__(self, live: LiveStack, key: NewKey) -> None:
        self.live = live
        self.key = key

    def call(self, method: str, path: str, body: object = None) -> Answer:
        return self.live.call(method, path, body, key=self.key.api_key)

    def create(self, url: str = URL, **members: Any) -> Any:
        made = self.call("POST", ENDPOINTS, {"Url": url, **members})
        assert made.status == 201, made.body
        return made.json

    def do(self, method: str, path: str, body: object = None, *, status: int = 200) -> Any:
        done = self.call(method, path, body)
        assert done.status == status, done.body
        return done.json

    def delivery(self, delivery_id: str, status: str) -> Any:
        """Wait until a delivery has a status, show it."""
        wait_until(lambda: self.do("GET", f"{DELIVERIES}/{delivery_id}")["Status"] == status)
        return self.do("GET", f"{DELIVERIES}/{delivery_id}")

    def finish_a_job(self, **members: Any) -> str:
        submitted = self.call("POST", "/v1/jobs", {"Operation": "ListCollections", "Input": {}, **members})
        assert submitted.status in (200, 202), submitted.body
        job_id = str(submitted.json["JobId"])
        wait_until(lambda: self.call("GET", f"/v1/jobs/{job_id}?wait=5").json["Done"])
        return job_id


@pytest.fixture
def owner(live: LiveStack, make_key: MakeKey) -> Iterator[Owner]:
    owner = Owner(live, make_key(f"owner-{uuid.uuid4()}"))
    yield owner
    for endpoint in owner.do("GET", ENDPOINTS)["Endpoints"]:  # nobody is tried again after the test
        owner.call("DELETE", f"{ENDPOINTS}/{endpoint['EndpointId']}")


def path(endpoint: Any, action: str = "") -> str:
    return f"{ENDPOINTS}/{endpoint['EndpointId']}" + (f"/{action}" if action else "")


def test_the_life_of_an_endpoint(owner: Owner) -> None:
    made = owner.call(
        "POST",
        ENDPOINTS,
        {
            "Url": URL,
            "EventTypes": ["job.failed"],
            "Description": "Büro",
            "Headers": {"Authorization": "Bearer hush"},
            "Payload": "REFERENCE",
        },
    )
    assert made.status == 201
    endpoint = made.json
    assert made.headers["location"] == path(endpoint)
    assert made.headers["cache-control"] == "no-store"
    assert made.headers["x-amzn-requestid"]
    assert endpoint.pop("Secret").startswith("whsec_")
    assert "hush" not in made.body.decode()
    uuid.UUID(endpoint["EndpointId"])
    assert {name: endpoint[name] for name in ("Url", "EventTypes", "Description", "HeaderNames", "Payload")} == {
        "Url": URL,
        "EventTypes": ["job.failed"],
        "Description": "Büro",
        "HeaderNames": ["Authorization"],
        "Payload": "REFERENCE",
    }
    assert owner.do("GET", path(endpoint)) == endpoint
    assert owner.do("GET", ENDPOINTS) == {"Endpoints": [endpoint]}
    changed = owner.do("PATCH", path(endpoint), {"EventTypes": None, "Headers": None, "Payload": "FULL"})
    assert "EventTypes" not in changed
    assert (changed["HeaderNames"], changed["Payload"], changed["Description"]) == ([], "FULL", "Büro")
    assert owner.do("POST", path(endpoint, "disable"))["DisabledReason"] == "REQUESTED"
    assert owner.do("POST", path(endpoint, "enable"), {})["Status"] == "ENABLED"
    gone = owner.call("DELETE", path(endpoint))
    assert (gone.status, gone.body) == (204, b"")
    problem(owner.call("GET", path(endpoint)), 404, "ResourceNotFoundException")
    problem(owner.call("DELETE", path(endpoint)), 404, "ResourceNotFoundException")
    assert owner.do("GET", ENDPOINTS) == {"Endpoints": []}


def test_a_rotation_shows_a_new_secret_once(owner: Owner) -> None:
    endpoint = owner.create()
    rotated = owner.do("POST", path(endpoint, "rotate-secret"))
    assert rotated.keys() == {"EndpointId", "Secret", "PreviousSecretsExpireAt"}
    assert rotated["EndpointId"] == endpoint["EndpointId"]
    assert rotated["Secret"] != endpoint["Secret"]
    until = datetime.fromisoformat(rotated["PreviousSecretsExpireAt"]) - datetime.now(UTC)
    assert timedelta(hours=23) < until < timedelta(hours=25)
    assert owner.do("POST", path(endpoint, "rotate-secret"), {"OverlapSeconds": 0}).keys() == {"EndpointId", "Secret"}
    shown = owner.call("GET", path(endpoint)).body.decode()
    assert "whsec_" not in shown


def test_a_test_event_arrives_and_the_log_tells_of_it(owner: Owner) -> None:
    with Receiver(answer(202, b"thanks")) as receiver:
        endpoint = owner.create(f"{receiver.url}/hook", EventTypes=["job.failed"])
        sent = owner.call("POST", path(endpoint, "test"))
        assert sent.status == 202
        assert sent.headers["location"] == sent.json["Links"]["Self"]
        ((headers, body),) = receiver.messages(1)
        delivery = owner.delivery(sent.json["DeliveryId"], "SUCCEEDED")
    message = json.loads(body)
    assert message["type"] == "webhook.test"
    assert message["data"] == {"EndpointId": endpoint["EndpointId"]}
    assert headers["webhook-id"] == delivery["EventId"]
    assert (delivery["EventType"], delivery["EndpointId"]) == ("webhook.test", endpoint["EndpointId"])
    (attempt,) = delivery["AttemptLog"]
    assert (attempt["Attempt"], attempt["StatusCode"], attempt["Answer"]) == (1, 202, "thanks")
    assert attempt["Milliseconds"] >= 0
    assert owner.do("GET", f"{DELIVERIES}?EventType=webhook.test")["Deliveries"][0].keys() == delivery.keys() - {
        "AttemptLog"
    }


def test_a_finished_job_is_told_to_the_endpoints_that_want_it(owner: Owner) -> None:
    with Receiver(answer(204)) as first, Receiver(answer(204)) as second, Receiver(answer(204)) as third:
        wanting = owner.create(first.url)
        owner.create(second.url, EventTypes=["job.succeeded", "job.failed"])
        owner.create(third.url, EventTypes=["job.failed"])
        job_id = owner.finish_a_job()
        ((one_headers, one),) = first.messages(1)
        ((other_headers, other),) = second.messages(1)
        named = owner.finish_a_job(Webhook={"EndpointId": wanting["EndpointId"]})
        assert json.loads(first.messages(2)[1][1])["data"]["JobId"] == named
        assert (len(second.requests), len(third.requests)) == (1, 0)
    assert one == other
    assert one_headers["webhook-id"] == other_headers["webhook-id"]
    assert json.loads(one)["data"] == owner.do("GET", f"/v1/jobs/{job_id}")
    log = owner.do("GET", f"{DELIVERIES}?JobId={job_id}")["Deliveries"]
    assert {delivery["JobId"] for delivery in log} == {job_id}
    assert len(log) == 2


def test_a_delivery_is_sent_again_on_request(owner: Owner) -> None:
    with Receiver(in_turn(answer(410), answer(204))) as receiver:
        job_id = owner.finish_a_job(Webhook={"Url": receiver.url})
        (delivery,) = owner.do("GET", f"{DELIVERIES}?JobId={job_id}")["Deliveries"]
        owner.delivery(delivery["DeliveryId"], "FAILED")
        again = owner.do("POST", delivery["Links"]["Redeliver"], status=202)
        assert again["DeliveryId"] == delivery["DeliveryId"]
        first, second = receiver.messages(2)
        shown = owner.delivery(delivery["DeliveryId"], "SUCCEEDED")
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    assert [attempt["StatusCode"] for attempt in shown["AttemptLog"]] == [410, 204]
    assert shown["Attempts"] == 2


def test_dead_letters_of_a_range_are_replayed(owner: Owner) -> None:
    with Receiver(answer(204)) as receiver:
        endpoint = owner.create(receiver.url)
        jobs = [owner.finish_a_job() for _ in range(3)]
        receiver.messages(3)
        wait_until(lambda: len(owner.do("GET", f"{DELIVERIES}?Status=SUCCEEDED")["Deliveries"]) == 3)
        since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
        assert owner.do("POST", path(endpoint, "replay"), {"Since": since}, status=202) == {"Deliveries": 0}
        owner.live.query(
            "UPDATE deliveries SET status = 'FAILED' FROM events WHERE events.event_id = deliveries.event_id"
            " AND job_id::text = ANY (%s)",
            jobs[:2],
        )
        assert owner.do("POST", path(endpoint, "replay"), {"Since": since}, status=202) == {"Deliveries": 2}
        told = [json.loads(body)["data"]["JobId"] for _, body in receiver.messages(5)]
    assert set(told[3:]) == set(jobs[:2])


def test_lists_come_a_page_at_a_time(owner: Owner) -> None:
    made = [owner.create(Description=str(number))["EndpointId"] for number in range(5)]
    seen: list[str] = []
    query = "?MaxResults=2"
    for size in (2, 2, 1):
        page = owner.do("GET", ENDPOINTS + query)
        assert len(page["Endpoints"]) == size
        seen += [endpoint["EndpointId"] for endpoint in page["Endpoints"]]
        query = f"?MaxResults=2&NextToken={page.get('NextToken')}"
    assert seen == made[::-1]
    assert "NextToken" not in page


def test_an_account_has_at_most_twenty_endpoints(owner: Owner) -> None:
    for _ in range(20):
        owner.create()
    refused = owner.call("POST", ENDPOINTS, {"Url": URL})
    assert "at most 20" in problem(refused, 400, "ServiceQuotaExceededException")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "Url is missing"),
        ({"Url": "http://example.com/"}, "Url: the URL must begin with https://"),
        ({"Url": "https://10.0.0.1/"}, "Url: the URL's host has no public address"),
        ({"Url": URL, "Colour": "red"}, "Unknown member Colour; known are Description, EventTypes"),
        ({"Url": URL, "Secret": "whsec_mine"}, "Unknown member Secret"),
        ({"Url": URL, "EventTypes": []}, "EventTypes must be a list of job.canceled"),
        ({"Url": URL, "EventTypes": ["job.done"]}, "EventTypes must be a list of job.canceled"),
        ({"Url": URL, "Description": "a" * 257}, "Description must be"),
        ({"Url": URL, "Headers": {"Host": "a"}}, "Headers: Host is set by the sender"),
        ({"Url": URL, "Headers": {"X-A": "a\r\nb"}}, "Headers: the value of X-A must be"),
        ({"Url": URL, "Payload": "HALF"}, "Payload must be FULL or REFERENCE"),
        ({"Url": URL, "Description": "a" * MAX_BODY_BYTES}, "The request body must be at most 65536 bytes"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else "",
)
def test_an_endpoint_that_cannot_be_is_refused(owner: Owner, body: dict[str, Any], told: str) -> None:
    refused = owner.call("POST", ENDPOINTS, body)
    assert problem(refused, 400, "ValidationException").startswith(told)
    assert not says_too_much(refused, owner.live)
    assert owner.do("GET", ENDPOINTS) == {"Endpoints": []}


@pytest.mark.parametrize("body", [b"{", b"[]", b"7", b"null", b"\xff", b"[" * 60_000])
def test_what_is_no_json_object_is_refused(owner: Owner, body: bytes) -> None:
    problem(owner.call("POST", ENDPOINTS, body), 400, "SerializationException")


@pytest.mark.parametrize(
    ("method", "action", "body"),
    [
        ("PATCH", "", {"Url": "https://10.0.0.1/"}),
        ("PATCH", "", {"Url": None}),
        ("PATCH", "", {"Status": "DISABLED"}),
        ("PATCH", "", {"Description": None}),
        ("DELETE", "", {"Force": True}),
        ("POST", "enable", {"Now": True}),
        ("POST", "disable", {"Reason": "GONE"}),
        ("POST", "test", {"EventType": "job.failed"}),
        ("POST", "rotate-secret", {"OverlapSeconds": 604_801}),
        ("POST", "rotate-secret", {"OverlapSeconds": None}),
        ("POST", "rotate-secret", {"Secret": "whsec_mine"}),
        ("POST", "replay", {}),
        ("POST", "replay", {"Since": "2026-01-31"}),
        ("POST", "replay", {"Since": "2020-01-01T00:00:00Z"}),
        ("POST", "replay", {"Since": "2020-01-01T00:00:00Z", "Until": "2020-01-02T00:00:00Z", "Limit": 5}),
    ],
)
def test_a_wrong_change_changes_nothing(owner: Owner, method: str, action: str, body: dict[str, Any]) -> None:
    endpoint = owner.create()
    problem(owner.call(method, path(endpoint, action), body), 400, "ValidationException")
    del endpoint["Secret"]
    assert owner.do("GET", path(endpoint)) == endpoint
    assert owner.do("GET", DELIVERIES) == {"Deliveries": []}


@pytest.mark.parametrize(
    "query",
    [
        "MaxResults=0",
        "MaxResults=1001",
        "MaxResults=ten",
        "MaxResults=",
        "Status=failed",
        "EventType=job.done",
        "EndpointId=7",
        "JobId=",
        "status=FAILED",
        "Url=https://example.com/",
    ],
)
def test_a_list_that_makes_no_sense_is_refused(owner: Owner, query: str) -> None:
    problem(owner.call("GET", f"{DELIVERIES}?{query}"), 400, "ValidationException")


@pytest.mark.parametrize("listing", [ENDPOINTS, DELIVERIES])
@pytest.mark.parametrize("token", ["", "x", "%00", "AAAAAAAA", "%C3%A4"])
def test_a_garbled_token_is_refused(owner: Owner, listing: str, token: str) -> None:
    problem(owner.call("GET", f"{listing}?NextToken={token}"), 400, "InvalidPaginationTokenException")


@pytest.mark.parametrize(
    ("method", "place"),
    [
        ("GET", f"{ENDPOINTS}/{{}}"),
        ("PATCH", f"{ENDPOINTS}/{{}}"),
        ("DELETE", f"{ENDPOINTS}/{{}}"),
        ("POST", f"{ENDPOINTS}/{{}}/enable"),
        ("POST", f"{ENDPOINTS}/{{}}/disable"),
        ("POST", f"{ENDPOINTS}/{{}}/test"),
        ("POST", f"{ENDPOINTS}/{{}}/rotate-secret"),
        ("POST", f"{ENDPOINTS}/{{}}/replay"),
        ("GET", f"{DELIVERIES}/{{}}"),
        ("POST", f"{DELIVERIES}/{{}}/redeliver"),
    ],
)
def test_what_is_not_there_or_belongs_to_another_is_not_found(
    owner: Owner, stranger: NewKey, method: str, place: str
) -> None:
    endpoint = owner.create()
    delivery = owner.do("POST", path(endpoint, "test"), status=202)
    own = delivery["DeliveryId"] if place.startswith(DELIVERIES) else endpoint["EndpointId"]
    body = {"Since": "2026-01-01T00:00:00Z", "Until": "2026-01-02T00:00:00Z"} if place.endswith("replay") else {}
    for name, key in ((NOWHERE, owner.key), ("x", owner.key), (own, stranger)):
        refused = owner.live.call(method, place.format(name), None if method == "GET" else body, key=key.api_key)
        assert name in problem(refused, 404, "ResourceNotFoundException")
    assert owner.call("GET", path(endpoint)).status == 200


def test_a_disabled_endpoint_is_sent_nothing(owner: Owner) -> None:
    endpoint = owner.create()
    owner.do("POST", path(endpoint, "disable"))
    problem(owner.call("POST", path(endpoint, "test")), 409, "ConflictException")
    job_id = owner.finish_a_job()
    assert owner.do("GET", f"{DELIVERIES}?JobId={job_id}") == {"Deliveries": []}


def test_a_key_with_scopes_needs_the_permission_to_manage_webhooks(live: LiveStack, make_key: MakeKey) -> None:
    account = f"scoped-{uuid.uuid4()}"
    without = make_key(account, scopes=(Scope(("SearchFaces*",)),))
    # An endpoint is told of every collection, so a key for some of them is not enough.
    of_some = make_key(account, scopes=(Scope(("*",), ("team-*", "?")), Scope(("SearchFaces*",))))
    within = make_key(account, scopes=(Scope(("SearchFaces*",), ("a",)), Scope(("ManageWebhooks",))))
    for listing in (ENDPOINTS, DELIVERIES):
        for key in (without, of_some):
            detail = problem(live.call("GET", listing, key=key.api_key), 403, "AccessDeniedException")
            assert "rekognition:ManageWebhooks" in detail
        assert live.call("GET", listing, key=within.api_key).status == 200
    problem(live.call("POST", ENDPOINTS, {"Url": URL}, key=without.api_key), 403, "AccessDeniedException")


@pytest.mark.parametrize(("method", "place"), [("GET", ENDPOINTS), ("POST", ENDPOINTS), ("GET", DELIVERIES)])
def test_a_caller_without_credentials_is_refused(live: LiveStack, method: str, place: str) -> None:
    problem(send(live, method, place), 401, "MissingAuthenticationTokenException")


def test_a_signature_is_as_good_as_a_bearer_token(live: LiveStack) -> None:
    body = json.dumps({"Url": "http://example.com/"}).encode()
    answered = send(live, "POST", ENDPOINTS, body, signed(live, "POST", ENDPOINTS, body))
    problem(answered, 400, "ValidationException")
    assert send(live, "GET", ENDPOINTS, headers=signed(live, "GET", ENDPOINTS)).status == 200
