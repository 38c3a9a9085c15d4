"""Bulk work reads a collection once a second, never another one's, and never keeps that there is none."""

from types import SimpleNamespace
from typing import Any

import pytest

from app.domain.face_models import NEWEST
from app.errors import CollectionNotFound
from workers.collection_cache import CollectionCache, Known


class Shelf:
    """Counts how often a collection is read, on a clock of its own."""

    def __init__(self) -> None:
        self.now = 0.0
        self.reads: list[str] = []
        self.cache = CollectionCache(lambda: self.now)

    def get(self, name: str, account_id: int = 1) -> Any:
        def read() -> Known:
            self.reads.append(name)
            return Known(SimpleNamespace(owner=account_id, name=name), [NEWEST])  # type: ignore[arg-type] # a row's look

        return self.cache.get(account_id, name, read).collection


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


def test_a_collection_is_read_again_after_a_second(shelf: Shelf) -> None:
    shelf.get("a")
    shelf.now = 0.9
    shelf.get("a")
    assert shelf.reads == ["a"]
    shelf.now = 1.1
    shelf.get("a")
    assert shelf.reads == ["a", "a"]


def test_collections_of_two_accounts_are_two(shelf: Shelf) -> None:
    assert [shelf.get("a", account).owner for account in (1, 2, 1)] == [1, 2, 1]


def test_a_collection_that_is_not_there_is_looked_for_each_time(shelf: Shelf) -> None:
    def missing() -> Known:
        raise CollectionNotFound("a")

    for _ in range(2):
        with pytest.raises(CollectionNotFound):
            shelf.cache.get(1, "a", missing)
    assert shelf.get("a").name == "a"


def test_it_knows_so_many_at_most(shelf: Shelf) -> None:
    for number in range(1000):
        shelf.get(str(number))
    assert len(shelf.cache._known) <= 256
