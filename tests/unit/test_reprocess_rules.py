"""What a reprocess shows, what may be asked of it, and whose crops are kept."""

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.domain import crops
from app.domain.reprocesses import Reprocess, Status, check_target, document, read_request
from app.errors import InvalidParameter, ValidationError

BEGAN = datetime(2026, 1, 31, 12, tzinfo=UTC)
RUNNING = Reprocess(
    reprocess_id=uuid.UUID(int=1),
    account_id=1,
    collection_id=2,
    collection_name="people",
    from_model="1.0",
    to_model="2.0",
    on_failure="keep-out",
    status=Status.IN_PROGRESS,
    total=100,
    done=30,
    failed=10,
    face_cursor=48,
    user_cursor=0,
    error=None,
    created_at=BEGAN,
    stalled_at=None,
    finished_at=None,
    rolled_back_at=None,
    keep_until=None,
    cleaned_at=None,
    seen_at=BEGAN + timedelta(seconds=20),
)
ENDED = BEGAN + timedelta(seconds=50)
SUCCEEDED = replace(
    RUNNING,
    status=Status.SUCCEEDED,
    done=90,
    finished_at=ENDED,
    keep_until=ENDED + timedelta(days=7),
    seen_at=ENDED + timedelta(days=1),
)


def test_a_running_one_shows_how_fast_it_is_and_how_long_it_may_take() -> None:
    shown = document(RUNNING)
    assert (shown["Progress"], shown["Failed"], shown["Done"]) == ({"Done": 30, "Total": 100}, 10, False)
    assert (shown["RatePerSecond"], shown["EtaSeconds"]) == (2.0, 30)
    assert shown["Links"].keys() == {"Self", "Failures", "Cancel"}


def test_one_that_succeeded_shows_the_way_back_as_long_as_there_is_one() -> None:
    shown = document(SUCCEEDED)
    assert (shown["RatePerSecond"], shown["RollbackUntil"]) == (2.0, "2026-02-07T12:00:50.000Z")
    assert "EtaSeconds" not in shown
    assert shown["Links"].keys() == {"Self", "Failures", "Rollback", "Finish"}
    late = document(replace(SUCCEEDED, seen_at=ENDED + timedelta(days=7)))
    assert "RollbackUntil" not in late
    assert late["Links"].keys() == {"Self", "Failures"}


def test_one_that_has_only_begun_shows_no_rate() -> None:
    assert not {"RatePerSecond", "EtaSeconds"} & document(replace(RUNNING, seen_at=BEGAN)).keys()
    assert "EtaSeconds" not in document(replace(RUNNING, done=0, failed=0))


@pytest.mark.parametrize(
    "members",
    [{}, {"FaceModelVersion": ""}, {"FaceModelVersion": "two"}, {"FaceModelVersion": "2.0", "OnFailure": None}],
)
def test_what_is_asked_must_be_understood(members: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        read_request(members)


def test_without_a_word_faces_stay_behind() -> None:
    assert read_request({"FaceModelVersion": "2.0"}) == ("2.0", "abort")


def test_a_collection_moves_to_another_version_that_is_known() -> None:
    check_target("2.0", "1.0", known=True)
    for version, known in (("1.0", True), ("2.0", False)):
        with pytest.raises(InvalidParameter, match=version):
            check_target(version, "1.0", known=known)


@pytest.mark.parametrize(
    ("tag", "default", "kept"),
    [(None, True, True), (None, False, False), ("true", False, True), ("False", True, False), ("maybe", True, True)],
)
def test_the_tag_goes_before_the_setting(tag: str | None, default: bool, kept: bool) -> None:
    assert crops.wanted({} if tag is None else {crops.TAG: tag}, default=default) is kept
