"""/v1/collections/{id} over HTTP: what is shown, what may be changed, and by whom."""

from typing import Any

import pytest

from app.domain.scopes import Scope
from app.services.access_keys import NewKey
from tests.contract.conftest import MakeKey
from tests.contract.wire import problem
from tests.live import Answer, LiveStack


def call(live: LiveStack, method: str, name: str, body: Any = None, key: NewKey | None = None) -> Answer:
    return live.call(method, f"/v1/collections/{name}", body, key=None if key is None else key.api_key)


def test_a_collection_is_exact_until_it_asks_for_something_else(live: LiveStack, collection: str) -> None:
    shown = call(live, "GET", collection).json
    assert (shown["CollectionId"], shown["SearchMode"], shown["FaceCount"]) == (collection, "exact", 0)
    assert "Index" not in shown
    changed = call(live, "PATCH", collection, {"SearchMode": "approximate"})
    assert changed.status == 200
    assert changed.json["SearchMode"] == "approximate"
    index = changed.json["Index"]
    assert (index["Status"], index["Buckets"], index["Built"]) == ("WAITING", 0, 0)
    assert "200000 faces" in index["Message"]
    assert call(live, "GET", collection).json == changed.json
    assert "Index" not in call(live, "PATCH", collection, {"SearchMode": "exact"}).json


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "ValidationException"),
        ({"SearchMode": "APPROXIMATE"}, "ValidationException"),
        ({"SearchMode": None}, "ValidationException"),
        ({"SearchMode": ["exact"]}, "ValidationException"),
        ({"SearchMode": "exact", "Name": "other"}, "ValidationException"),
        ([], "SerializationException"),
    ],
)
def test_what_cannot_be_changed_is_refused(live: LiveStack, collection: str, body: Any, code: str) -> None:
    problem(call(live, "PATCH", collection, body), 400, code)


def test_others_do_not_see_it(live: LiveStack, collection: str, stranger: NewKey) -> None:
    problem(call(live, "GET", collection, key=stranger), 404, "ResourceNotFoundException")
    problem(call(live, "PATCH", collection, {"SearchMode": "exact"}, stranger), 404, "ResourceNotFoundException")
    problem(call(live, "GET", "no-such-collection"), 404, "ResourceNotFoundException")


def test_a_key_needs_the_permission_on_the_collection(live: LiveStack, collection: str, make_key: MakeKey) -> None:
    reader = make_key("default", scopes=(Scope(("Describe*",), ("*",)),))
    setter = make_key("default", scopes=(Scope(("SetSearchMode",), ("test-*",)),))
    assert call(live, "GET", collection, key=reader).status == 200
    problem(call(live, "PATCH", collection, {"SearchMode": "exact"}, reader), 403, "AccessDeniedException")
    problem(call(live, "PATCH", "other", {"SearchMode": "exact"}, setter), 403, "AccessDeniedException")
    assert call(live, "PATCH", collection, {"SearchMode": "exact"}, setter).status == 200
