"""Scopes of access keys: which operation on which collection a pattern means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.caller import Caller
from app.domain.scopes import Scope, allows, read
from app.errors import AccessDenied

NAMES = st.text("abcXYZ019_.-", min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*", "anything", True),
        ("team-a", "team-a", True),
        ("team-a", "Team-a", False),
        ("team-a", "team-a-1", False),
        ("team-a", "my-team-a", False),
        ("team-a-*", "team-a-", True),
        ("team-a-*", "team-a-x.y_z", True),
        ("team-a-*", "team-b-x", False),
        ("*-a", "team-a", True),
        ("t*-*a", "team--a", True),
        ("team-?", "team-a", True),
        ("team-?", "team-", False),
        ("team-?", "team-ab", False),
        ("a.c", "abc", False),
        ("[ab]", "a", False),
        ("[ab]", "[ab]", True),
        ("a|b", "a", False),
        ("", "a", False),
        ("a", "a\n", False),
        ("a*", "a\nb", True),
    ],
)
def test_a_pattern_knows_star_and_question_mark_alone(pattern: str, name: str, matches: bool) -> None:
    assert allows((Scope(collections=(pattern,)),), "ListFaces", name) is matches
    assert allows((Scope(operations=(pattern,)),), name, "people") is matches


@given(operation=NAMES, collection=st.none() | NAMES)
def test_without_scopes_everything_is_allowed_and_with_none_in_the_list_nothing(
    operation: str, collection: str | None
) -> None:
    assert allows(None, operation, collection)
    assert not allows((), operation, collection)


@given(name=NAMES, other=NAMES)
def test_a_plain_name_allows_itself_alone(name: str, other: str) -> None:
    scopes = (Scope(("ListFaces",), (name,)),)
    assert allows(scopes, "ListFaces", name)
    assert allows(scopes, "ListFaces", other) is (name == other)
    assert not allows(scopes, "DeleteFaces", name)


@given(start=NAMES, rest=st.text(max_size=8))
def test_a_star_at_the_end_allows_whatever_begins_so(start: str, rest: str) -> None:
    assert allows((Scope(collections=(f"{start}*",)),), "ListFaces", start + rest)


def test_a_call_that_names_no_collection_is_judged_by_its_operation() -> None:
    scopes = (Scope(("DetectFaces", "ListFaces"), ("team-a",)),)
    assert allows(scopes, "DetectFaces", None)
    assert not allows(scopes, "CompareFaces", None)


def test_one_scope_must_hold_both_the_operation_and_the_collection() -> None:
    scopes = (Scope(("ListFaces",), ("a",)), Scope(("DeleteFaces",), ("b",)))
    allowed = {(op, on) for op in ("ListFaces", "DeleteFaces") for on in ("a", "b") if allows(scopes, op, on)}
    assert allowed == {("ListFaces", "a"), ("DeleteFaces", "b")}


@given(st.lists(st.builds(Scope, st.lists(NAMES).map(tuple), st.lists(NAMES).map(tuple))).map(tuple))
def test_scopes_are_stored_and_read_without_a_change(scopes: tuple[Scope, ...]) -> None:
    assert read([scope.document() for scope in scopes]) == scopes


def test_a_missing_list_of_scopes_is_read_as_no_limit() -> None:
    assert read(None) is None
    assert read([]) == ()


def test_a_denial_names_the_user_the_operation_and_the_resource() -> None:
    caller = Caller(7, "eu-west-1", "REKOKEY", (Scope(("ListFaces",), ("a",)),))
    caller.check_allowed("ListFaces", "a")
    user = "User: arn:aws:iam::000000000007:user/REKOKEY is not authorized to perform: rekognition:"
    for operation, collection, resource in (
        ("ListFaces", "b", "arn:aws:rekognition:eu-west-1:000000000007:collection/b"),
        ("ListCollections", None, "*"),
    ):
        with pytest.raises(AccessDenied) as caught:
            caller.check_allowed(operation, collection)
        assert caught.value.message == f"{user}{operation} on resource: {resource}"


@pytest.mark.parametrize("prefix", ["arn:aws", "aws"])
def test_an_arn_names_a_collection_of_its_own_account_alone(prefix: str) -> None:
    caller = Caller(7, "us-east-1", "REKOKEY")
    arn = f"{prefix}:rekognition:us-east-1:000000000007:collection/People_1.a-b"
    assert caller.collection_of_arn(arn) == "People_1.a-b"
    assert caller.collection_of_arn(arn.replace("7:", "8:")) is None
    for wrong in (
        arn + "/x",
        arn + "\n",
        "x" + arn,
        arn.replace("collection", "project"),
        arn.rpartition("/")[0] + "/",
    ):
        assert caller.collection_of_arn(wrong) is None
