"""A collection of 3,000 faces moves to a second face model version: undisturbed callers, and killed processes."""

import itertools
import time
from collections.abc import Iterator

import numpy as np
import pytest

from app.assets import models_folder
from app.config import Settings
from tests.live import LiveStack
from tests.moving import TWO, Moving, going_on

pytestmark = [pytest.mark.bench, pytest.mark.models]

FACES = 3000
KILL_EVERY_SECONDS = 10.0


@pytest.fixture(scope="module")
def moving(
    tmp_path_factory: pytest.TempPathFactory, settings: Settings, portraits: dict[str, bytes]
) -> Iterator[Moving]:
    folder = tmp_path_factory.mktemp("moving")
    variables = {
        "REKOLLECT_MODELS_DIR": str(settings.models_dir or models_folder(settings)),
        "REKOLLECT_CACHE_DIR": str(folder / "cache"),
    }
    with LiveStack(folder, workers=2, **variables) as live:
        yield Moving(live, portraits, settings, folder)


def test_three_thousand_faces_under_searches_and_inserts(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    moving.begin("three-thousand")
    moving.fill(FACES)
    before = {match["Face"]["FaceId"]: match["Similarity"] for match in moving.search()["FaceMatches"]}
    names = (f"obama-new-{number}" for number in itertools.count())
    versions: list[str] = []
    inserted: list[None] = []
    with going_on(
        lambda: versions.append(moving.check(moving.search())), lambda: inserted.append(moving.index(next(names)))
    ) as failures:
        moving.start()
        shown = moving.until_done(1200)
    moving.check_complete(TWO)
    began = time.monotonic()
    moving.live.call("POST", moving.path("/rollback"), {})
    rollback_seconds = time.monotonic() - began
    moving.check_complete("1.0")
    back = {match["Face"]["FaceId"]: match["Similarity"] for match in moving.search()["FaceMatches"]}
    with capsys.disabled():
        print(
            f"\nreprocess of {FACES} faces: {shown['RatePerSecond']} faces/s beside {len(versions)} searches and "
            f"{len(inserted)} inserts, none failed or empty; rollback {rollback_seconds * 1000:.0f} ms"
        )
    assert failures == []
    assert (shown["Status"], shown["Failed"]) == ("SUCCEEDED", 0)
    assert versions == sorted(versions)
    assert {face_id: back[face_id] for face_id in before} == before


def test_three_thousand_faces_while_processes_are_killed(moving: Moving, capsys: pytest.CaptureFixture[str]) -> None:
    moving.begin("killed")
    moving.fill(FACES)
    moving.start()
    rng = np.random.default_rng(11)
    killed: list[float] = []

    def kill_now_and_then() -> None:
        if time.monotonic() - (killed[-1] if killed else 0.0) > KILL_EVERY_SECONDS:
            moving.kill(rng.choice(moving.own))
            killed.append(time.monotonic())

    shown = moving.until_done(1800, meanwhile=kill_now_and_then)
    moving.check_complete(TWO)
    with capsys.disabled():
        print(f"\nreprocess of {FACES} faces with {len(killed)} killed processes: {shown['RatePerSecond']} faces/s")
    assert (shown["Status"], shown["Progress"]["Done"], moving.embedded()) == ("SUCCEEDED", FACES, FACES)
