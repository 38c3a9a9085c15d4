"""Whatever account A calls, with whatever ids of account B's things: nothing of B's is read, counted or changed.

B's thing and no thing get the same answer, after the same statements: what does not differ tells nothing, nor does its time.
"""

import os
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.broker import Doorbell
from app.db import schema
from app.db.session import Database
from app.domain.batches import MAX_OPEN_BATCHES
from app.domain.endpoints import MAX_ENDPOINTS
from app.domain.schedules import MAX_SCHEDULES
from app.services import operations
from tests.contract.fuzz_inputs import Inputs, mix
from tests.integration.tenancy.routes import AWS, OPEN, ROUTES, input_of, request_to
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
    return mix(*[routed(world)] * 2, *[aws(world, inputs)] * 2, submitted(world, extended))


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
    for call in data.draw(st.lists(calls(world), min_size=4, max_size=12)):
        tells_nothing(web, world, other, call)


def tells_nothing(web: Web, world: World, other: World, call: Call) -> None:
    """Assert that a call by the other account is answered as if nobody had what it names."""
    others = dict(ghosts(world))
    answer, twin = web.send(other.account.key, call), call.about(others)
    if twin != call:
        nothing = web.send(other.account.key, twin)
        assert answer.about({}) == nothing.about({ghost: word for word, ghost in others.items()}), (
            call,
            answer,
            nothing,
        )
        assert answer.asked == nothing.asked, call
    sent = call.path + call.body
    told = [word for word in world.words if word in answer.body and word not in sent]
    assert told == [], (call, answer)
    while tasks.run_next("interactive"):
        pass


def test_no_route_and_no_operation_touches_another_account(
    web: Web, worker: Runtime, world: World, database: Database, doorbell: Doorbell
) -> None:
    before = everything(database, world.account.account_id)
    other = furnish(database, doorbell, "mine")
    for name in ROUTES:
        tells_nothing(web, world, other, request_to(name, world))
        tells_nothing(web, world, other, Call(name.partition(" ")[0], request_to(name, world).path.partition("?")[0]))
    for operation in sorted(operations.ALL):
        body = as_text(input_of(operation, world))
        tells_nothing(web, world, other, Call("POST", "/", body, operation))
        tells_nothing(web, world, other, Call("POST", "/v1/jobs", f'{{"Operation": "{operation}", "Input": {body}}}'))
    assert everything(database, world.account.account_id) == before


def test_what_others_have_counts_for_no_limit(web: Web, world: World, database: Database, doorbell: Doorbell) -> None:
    other = furnish(database, doorbell, "mine")
    with database.transaction() as connection:
        for table, name, most in (
            (schema.webhook_endpoints, "url", MAX_ENDPOINTS),
            (schema.schedules, "name", MAX_SCHEDULES),
            (schema.batches, "batch_id", MAX_OPEN_BATCHES),
            (schema.jobs, "job_id", 1000),
        ):
            (sample, *_) = connection.execute(
                sa.select(table).where(table.c.account_id == world.account.account_id)
            ).mappings()
            copied = {column.key: sample[column] for column in table.c if not column.primary_key}
            copied.pop("idempotency_key", None)
            rows = [{**copied, **({name: str(number)} if name in copied else {})} for number in range(most)]
            connection.execute(sa.insert(table), rows)
    for name in ("POST /v1/webhooks/endpoints", "POST /v1/schedules", "POST /v1/batches", "POST /v1/jobs"):
        answer = web.send(other.account.key, request_to(name, other))
        assert answer.status in {201, 202, 422}, answer


def test_no_sequence_of_calls_touches_another_account(
    web: Web, worker: Runtime, world: World, database: Database, doorbell: Doorbell
) -> None:
    before = everything(database, world.account.account_id)
    other = furnish(database, doorbell, "mine")
    _no_sequence_of_calls_touches_another_account(web, world, other, database)
    assert everything(database, world.account.account_id) == before
