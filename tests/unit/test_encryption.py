"""Secrets at rest: they come back to their own row under their own key, and in no other way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.encryption import Cipher, WrongSecretKey

CIPHER = Cipher(bytes(range(32)))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80)


@given(texts, texts)
def test_a_text_comes_back(text: str, owner: str) -> None:
    assert CIPHER.decrypt(CIPHER.encrypt(text, owner=owner), owner=owner) == text


def test_the_same_text_never_looks_the_same() -> None:
    sealed = {CIPHER.encrypt("secret", owner="row") for _ in range(100)}
    assert len(sealed) == 100
    assert not any(b"secret" in one for one in sealed)


@given(texts, texts, texts)
def test_another_owner_does_not_open_it(text: str, owner: str, thief: str) -> None:
    if owner != thief:
        with pytest.raises(WrongSecretKey):
            CIPHER.decrypt(CIPHER.encrypt(text, owner=owner), owner=thief)


@given(st.binary(min_size=32, max_size=32))
def test_another_key_does_not_open_it(key: bytes) -> None:
    if key != bytes(range(32)):
        with pytest.raises(WrongSecretKey):
            Cipher(key).decrypt(CIPHER.encrypt("secret", owner="row"), owner="row")


@given(st.data(), st.integers(1, 255))
def test_a_changed_byte_is_noticed_wherever_it_is(data: st.DataObject, change: int) -> None:
    sealed = bytearray(CIPHER.encrypt("secret", owner="row"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= change
    with pytest.raises(WrongSecretKey):
        CIPHER.decrypt(bytes(sealed), owner="row")


@given(st.binary(max_size=60))
def test_what_was_never_sealed_does_not_open(garbage: bytes) -> None:
    with pytest.raises(WrongSecretKey):
        CIPHER.decrypt(garbage, owner="row")


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="128, 192, or 256"):
        Cipher(b"")
