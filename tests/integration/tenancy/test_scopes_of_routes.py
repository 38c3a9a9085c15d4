"""What a key may do: for every route and every operation, a key without the scope is refused and changes nothing."""

import pytest

from app.db.session import Database
from app.domain.scopes import MANAGE_SCHEDULES, MANAGE_WEBHOOKS, READ_AUDIT_LOG, REPROCESS, SEARCH_MODE, Scope
from app.services import access_keys, operations
from app.services.access_keys import NewKey, Terms
from tests.factories import CIPHER
from tests.integration.tenancy.routes import ROUTES, WITHOUT_COLLECTION, input_of, request_to
from tests.integration.tenancy.web import Answer, Call, Web, as_text
from tests.integration.tenancy.worlds import World, everything

EVERYTHING = sorted(operations.ALL | {MANAGE_WEBHOOKS, MANAGE_SCHEDULES, REPROCESS, READ_AUDIT_LOG, SEARCH_MODE})
LISTS = [name for name, route in ROUTES.items() if route.needs is None]
GUARDED = [name for name in ROUTES if name not in LISTS]


def make_key(database: Database, world: World, scope: Scope) -> NewKey:
    """Make another key of the account."""
    with database.transaction() as connection:
        return access_keys.create(connection, CIPHER, account=world.account.name, terms=Terms((scope,)))


def all_but(needed: str) -> Scope:
    return Scope(tuple(name for name in EVERYTHING if name != needed))


def assert_only_refused(database: Database, world: World, before: dict[str, list[str]]) -> None:
    """Nothing has changed but the audit log, which says that somebody was refused."""
    after = everything(database, world.account.account_id)
    lines = set(after.pop("audit_log")) - set(before.pop("audit_log"))
    assert after == before
    assert lines
    assert all("AccessDeniedException" in line for line in lines)


def is_denied(answer: Answer) -> bool:
    return "AccessDeniedException" in answer.body


@pytest.mark.parametrize("name", GUARDED)
def test_a_key_needs_the_scope_of_a_route(web: Web, world: World, database: Database, name: str) -> None:
    needed = str(ROUTES[name].needs)
    key = make_key(database, world, all_but(needed))
    before = everything(database, world.account.account_id)
    answer = web.send(key, request_to(name, world))
    assert (answer.status, is_denied(answer)) == (403, True), answer
    assert_only_refused(database, world, before)
    # A schedule asks also for what it does by itself.
    own = (needed, "DeleteFaces", "DisassociateFaces") if name == "POST /v1/schedules" else (needed,)
    answer = web.send(make_key(database, world, Scope(own)), request_to(name, world))
    assert answer.status < 500, answer
    assert not is_denied(answer)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_shows_nothing_to_a_key_without_the_scope_of_what_is_in_it(
    web: Web, world: World, database: Database, name: str
) -> None:
    method, _, path = name.partition(" ")
    whole = web.send(world.account.key, Call(method, path))
    assert any(word in whole.body for word in world.words), whole
    answer = web.send(make_key(database, world, all_but("IndexFaces")), Call(method, path))
    assert answer.status == 200
    assert [word for word in world.words if word in answer.body] == []


@pytest.mark.parametrize("operation", sorted(operations.ALL))
def test_a_key_needs_the_scope_of_an_operation(web: Web, world: World, database: Database, operation: str) -> None:
    key = make_key(database, world, all_but(operation))
    body = input_of(operation, world)
    before = everything(database, world.account.account_id)
    job = {"Operation": operation, "Input": body}
    for call in (Call("POST", "/", as_text(body), operation), Call("POST", "/v1/jobs", as_text(job))):
        answer = web.send(key, call)
        assert (answer.status, is_denied(answer)) == (400 if call.operation else 403, True), answer
    assert_only_refused(database, world, before)
    allowed = web.send(make_key(database, world, Scope((operation,))), Call("POST", "/v1/jobs", as_text(job)))
    assert allowed.status == 202, allowed


@pytest.mark.parametrize("operation", sorted(operations.ALL - WITHOUT_COLLECTION))
def test_a_key_for_another_collection_may_not_touch_this_one(
    web: Web, world: World, database: Database, operation: str
) -> None:
    key = make_key(database, world, Scope(("*",), ("other",)))
    before = everything(database, world.account.account_id)
    answer = web.send(key, Call("POST", "/", as_text(input_of(operation, world)), operation))
    assert is_denied(answer), answer
    assert_only_refused(database, world, before)
