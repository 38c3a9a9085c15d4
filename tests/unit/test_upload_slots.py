"""Slots of uploads: a few in all, fewer for an account, and given back whatever happens."""

import contextlib

import pytest

from app.api.upload_slots import UploadSlots
from app.errors import Throttled


def test_an_account_has_a_part_of_the_slots_and_all_together_have_no_more() -> None:
    slots = UploadSlots(3, most_of_account=2)
    with contextlib.ExitStack() as taken:
        for account_id in (1, 1, 2):
            taken.enter_context(slots.take(account_id))
        for account_id in (1, 2, 3):
            with pytest.raises(Throttled), slots.take(account_id):
                pass
    with contextlib.suppress(OSError), slots.take(1), slots.take(1):
        raise OSError
    with slots.take(1), slots.take(1), slots.take(2):
        pass
    assert slots._open == {}
