"""Whatever account A calls, with whatever ids of account B's things: nothing of B's is read, counted or changed.

B's thing and no thing get the same answer, after the same statements: what does not differ tells nothing, nor does its time.
"""

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.broker import Doorbell
from app.db.session import Database
from app.services import operations
from tests.contract.fuzz_inputs import Inputs
from tests.integration.tenancy.routes import AWS, OPEN, ROUTES
from tests.integration.tenancy.web import Call, Web, as_text
from tests.integration.tenancy.worlds import SHARED, World, everything, furnish, ghosts
from workers import tasks
from workers.runtime import Runtime

pytestmark = pytest.mark.models

#: Each is four to twelve calls, most of them made twice.
EXAMPLES = int(os.environ.get("REKOLLECT_TENANCY_EXAMPLES", "30"))


def test_every_route_is_known_to_these_tests(web: Web) -> None:
    assert web.routes() == set(ROUTES) | OPEN | AWS


@st.composite
def routed(draw: st.DrawFn, world: World) -> Call:
    """Make a call to a route of /v1 that names the things of a world, and now and then the page after one of them."""
    name = draw(st.sampled_from(sorted(ROUTES)))
    method, _, path = name.partition(" ")
    ids = {kind: draw(st.sampled_from(words)) for kind, words in world.ids.items()}
    for kind, word in ids.items():
        path = path.replace(f"<{kind}>", word)
    path += ROUTES[name].query(ids)
    return Call(method, path, as_text(ROUTES[name].body(ids)))


@st.composite
def submitted(draw: st.DrawFn, world: World, inputs: Inputs) -> Call:
    """Make a submission of any operation as a job."""
    operation = draw(st.sampled_from(sorted(operations.ALL)))
    members = {"Operation": operation, "Input": draw(named(world, inputs.of(operation)))}
    return Call("POST", "/v1/jobs", as_text(members))


@st.composite
def aws(draw: st.DrawFn, world: World, inputs: Inputs) -> Call:
    """Make a call of any operation of AWS."""
    operation = draw(st.sampled_from(sorted(operations.ALL)))
    return Call("POST", "/", as_text(draw(named(world, inputs.of(operation)))), operation)


def named(world: World, documents: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Let a request token be one of the world's: under one of our own the second of two different calls is refused."""
    (token,) = world.ids["request_token"]

    def with_known_token(document: Any) -> Any:
        has_token = isinstance(document, dict) and "ClientRequestToken" in document
        return {**document, "ClientRequestToken": token} if has_token else document

    return documents.map(with_known_token)


def calls(world: World) -> st.SearchStrategy[Call]:
    known = {
        "CollectionId": [*world.ids["collection_id"] * 3, SHARED],
        "FaceId": world.ids["face_id"],
        "UserId": world.ids["user_id"],
        "ResourceArn": world.ids["arn"],
    }
    inputs, extended = Inputs(known), Inputs(known, extensions=True)
    return st.one_of(routed(world), routed(world), aws(world, inputs), aws(world, inputs), submitted(world, extended))


# No example is made smaller: what was done before is there already.
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)
@given(data=st.data())
def _no_sequence_of_calls_touches_another_account(
    web: Web, world: World, other: World, database: Database, data: st.DataObject
) -> None:
    others = dict(ghosts(world))
    back = {ghost: word for word, ghost in others.items()}
    for call in data.draw(st.lists(calls(world), min_size=4, max_size=12)):
        answer = web.send(other.account.key, call)
        twin = call.about(others)
        if twin != call:
            nothing = web.send(other.account.key, twin)
            assert answer.about({}) == nothing.about(back), (call, answer, nothing)
            assert answer.asked == nothing.asked, call
        sent = call.path + call.body
        told = [word for word in world.words if word in answer.body and word not in sent]
        assert told == [], (call, answer)
        while tasks.run_next("interactive"):
            pass


def test_no_sequence_of_calls_touches_another_account(
    web: Web, worker: Runtime, world: World, database: Database, doorbell: Doorbell
) -> None:
    before = everything(database, world.account.account_id)
    other = furnish(database, doorbell, "mine")
    _no_sequence_of_calls_touches_another_account(web, world, other, database)
    assert everything(database, world.account.account_id) == before
