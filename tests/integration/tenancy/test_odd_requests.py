"""Whatever stands in the path, the query or the body of any route, the answer is modelled, small, and soon there."""

import json
import time
import uuid

import pytest

from app.services import operations
from tests.contract.fuzz_inputs import ODD_BODIES
from tests.integration.tenancy.routes import ROUTES
from tests.integration.tenancy.web import Answer, Call, Web, as_text
from tests.integration.tenancy.worlds import World

#: Values for any member of a body.
ODD_VALUES = [
    None, True, 0, -1, 10**400, 1e308, float("nan"), float("inf"), "", " ", "\0", "\ud800", "a" * 70_000, "é" * 300, "null", [],
    [[]], [None], ["a"] * 5000, {}, {"a": {}}, {"": ""}, {"\ud800": "\0"}, "2026-13-45T99:99:99Z", "9999-12-31T23:59:59Z",
    "urn:uuid:00000000-0000-0000-0000-000000000000", "* * * * *", "https://[::1", "https://\ud800/", "Europe/../etc/passwd",
]  # fmt: skip

#: What may stand in the place of an id.
ODD_IDS = [
    "0", "-1", "null", "a" * 5000, "%00", "%F0%9F%99%82", "%ED%A0%80", "..", "%2e%2e", "*", "'", "%25", "{}", "a%0Ab", "%2F",
    "urn:uuid:00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "F" * 32,
]  # fmt: skip

ODD_QUERIES = [
    "?MaxResults=0", "?MaxResults=" + "9" * 5000, "?MaxResults=1&MaxResults=2", "?NextToken=", "?NextToken=%00", "?NextToken=A",
    "?NextToken=" + "A" * 8000, "?after=-1", "?after=" + "9" * 40, "?wait=-1", "?wait=1e9", "?Status=%00", "?JobId=x",
    "?EndpointId=%ED%A0%80", "?CollectionId=%00", "?" + "a=b&" * 3000, "?%00=%00", "?Operation=", "?EventType=" + "x" * 5000,
]  # fmt: skip

MOST_ANSWER_BYTES = 20_000


def check(answer: Answer, call: Call) -> None:
    assert answer.status < 500, (call, answer)
    assert "Traceback" not in answer.body
    assert len(answer.body) < MOST_ANSWER_BYTES, (call, len(answer.body))


def path_of(name: str, world: World) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    for kind, words in world.ids.items():
        path = path.replace(f"<{kind}>", words[0])
    return method, path


@pytest.mark.parametrize("name", ROUTES)
def test_any_body_of_any_route_gets_a_modelled_answer(web: Web, world: World, name: str) -> None:
    method, path = path_of(name, world)
    for body in ODD_BODIES:
        call = Call(method, path, body.decode("utf-8", "surrogateescape"))
        check(web.send(world.account.key, call), call)
    valid = ROUTES[name].body({kind: words[0] for kind, words in world.ids.items()})
    for member in valid or {}:
        for value in ODD_VALUES:
            call = Call(method, path, as_text({**valid, member: value}))
            check(web.send(world.account.key, call), call)


@pytest.mark.parametrize("name", ROUTES)
def test_any_query_and_any_id_get_a_modelled_answer(web: Web, world: World, name: str) -> None:
    method, path = path_of(name, world)
    body = as_text(ROUTES[name].body({kind: words[0] for kind, words in world.ids.items()}))
    calls = [Call(method, path + query, body) for query in ODD_QUERIES]
    _, _, template = name.partition(" ")
    if "<" in template:
        head, _, rest = template.partition("<")
        calls += [Call(method, head + odd + rest.partition(">")[2], body) for odd in ODD_IDS]
    for call in calls:
        check(web.send(world.account.key, call), call)


OVERSIZED = {
    "ListFaces": {"FaceIds": [str(uuid.UUID(int=number)) for number in range(100_000)]},
    "DeleteFaces": {"FaceIds": [str(uuid.UUID(int=number)) for number in range(100_000)]},
    "AssociateFaces": {"UserId": "a", "FaceIds": ["A"] * 500_000},
    "DisassociateFaces": {"UserId": "a", "FaceIds": [None] * 1_000_000},
    "TagResource": {"Tags": {str(number): "" for number in range(600_000)}},
    "UntagResource": {"TagKeys": [str(number) for number in range(600_000)]},
    "CreateCollection": {"Tags": {"a" * 129 + str(number): "" for number in range(50_000)}},
}


@pytest.mark.parametrize("operation", OVERSIZED)
def test_a_list_far_too_long_is_refused_at_once(web: Web, world: World, operation: str) -> None:
    place = {"ResourceArn": world.ids["arn"][0]} if "agResource" in operation else {"CollectionId": "people"}
    if operation == "CreateCollection":
        place = {"CollectionId": "new"}
    call = Call("POST", "/", json.dumps(place | OVERSIZED[operation], separators=(",", ":")), operation)
    assert operation in operations.ALL
    began = time.process_time()
    answer = web.send(world.account.key, call)
    seconds = time.process_time() - began
    assert answer.status == 400
    check(answer, call)
    assert seconds < 2.0, f"{seconds:.1f} s for {len(call.body)} bytes"


def test_a_custom_id_is_any_text_that_can_be_kept_and_no_other(web: Web, world: World) -> None:
    def submit(*custom_ids: object) -> Answer:
        items = [{"CustomId": one, "Input": {"Image": {"Url": "https://example.com/a.jpg"}}} for one in custom_ids]
        body = {"Operation": "DetectFaces", "Items": items}
        return web.send(world.account.key, Call("POST", "/v1/batches", json.dumps(body)))

    for good in ("a", "é" * 512, "a" * 1024, " ", "../x", "' OR 1=1 --", "🙂", "\n", "null"):
        assert submit(good).status == 202, good
    for wrong in ("", "a" * 1025, "é" * 513, "\0", "\ud800", 5, True, [], {}, 1e308):
        answer = submit(wrong)
        assert (answer.status, "ValidationException" in answer.body) == (400, True), (wrong, answer)
    assert submit("same", "same").status == 400
    assert submit("a", "A", "a ").status == 202


@pytest.mark.parametrize("token", ["", " ", "a b", "é", "a" * 256, "\0", "\ud800", "a\n", 5, True, [], {}, "💥"])
def test_a_request_token_is_short_and_plain(web: Web, world: World, token: object) -> None:
    job = {"Operation": "ListCollections", "ClientRequestToken": token}
    answer = web.send(world.account.key, Call("POST", "/v1/jobs", json.dumps(job)))
    assert (answer.status, "ValidationException" in answer.body) == (400, True), answer
