"""Page tokens: they give back what they were made of, and nothing else passes for one."""

import contextlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.pagination import read_number, read_uuid, token
from app.errors import InvalidPaginationToken

numbers = st.integers(0, 2**63 - 1)
kinds = st.sampled_from(["collections", "faces"])


@given(numbers)
def test_a_number_comes_back(number: int) -> None:
    made = token("collections", str(number))
    assert read_number(made, "collections") == number
    assert len(made) <= 255
    assert made.isascii()


@given(st.uuids())
def test_a_uuid_comes_back(value: uuid.UUID) -> None:
    assert read_uuid(token("faces", str(value)), "faces") == value


def test_without_a_token_a_list_begins_at_its_start() -> None:
    assert read_number(None, "collections") == 0
    assert read_uuid(None, "faces") == uuid.UUID(int=0)


@given(numbers)
def test_a_token_of_another_list_is_refused(number: int) -> None:
    with pytest.raises(InvalidPaginationToken):
        read_number(token("users", str(number)), "collections")


@given(st.text(max_size=255) | st.from_regex(r"[A-Za-z0-9_-]{1,80}", fullmatch=True))
def test_garbage_is_refused(text: str) -> None:
    with pytest.raises(InvalidPaginationToken):
        read_number(text, "collections")
    with pytest.raises(InvalidPaginationToken):
        read_uuid(text, "faces")


@given(numbers, st.data())
def test_a_garbled_token_is_refused_or_still_says_the_same(number: int, data: st.DataObject) -> None:
    made = token("collections", str(number))
    place = data.draw(st.integers(0, len(made) - 1))
    garbled = made[:place] + data.draw(st.characters()) + made[place + data.draw(st.integers(0, 1)) :]
    with contextlib.suppress(InvalidPaginationToken):
        assert read_number(garbled, "collections") == number


@given(kinds, st.text(st.characters(blacklist_categories=["Cs"]), max_size=40))
def test_a_token_of_something_else_than_a_number_is_refused(kind: str, last: str) -> None:
    made = token(kind, last)
    if not (last.isascii() and last.isdigit()):
        with pytest.raises(InvalidPaginationToken):
            read_number(made, kind)
    else:
        assert read_number(made, kind) == int(last)
