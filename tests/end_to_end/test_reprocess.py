"""A collection moves to another face model version on a running stack: who searches or indexes notices no more than that."""

import itertools
from collections.abc import Iterator

import numpy as np
import pytest

from app.assets import models_folder
from app.config import Settings
from tests.live import LiveStack
from tests.moving import TWO, Moving, going_on

pytestmark = pytest.mark.models

FACES = 60


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


def test_searches_and_inserts_go_on_and_the_way_back_leads_to_the_former_answers(moving: Moving) -> None:
    moving.begin("lively")
    moving.fill(FACES)
    before = moving.search()
    names = (f"obama-new-{number}" for number in itertools.count())
    versions: list[str] = []
    with going_on(
        lambda: versions.append(moving.check(moving.search())), lambda: moving.index(next(names))
    ) as failures:
        moving.start()
        shown = moving.until_done(120)
    assert failures == []
    assert shown["Status"] == "SUCCEEDED"
    assert versions == sorted(versions)
    moving.check_complete(TWO)
    assert moving.rekognition.describe_collection(CollectionId=moving.collection)["FaceModelVersion"] == TWO
    assert moving.live.call("POST", moving.path("/rollback"), {}).json["Status"] == "ROLLED_BACK"
    moving.check_complete("1.0")
    old = {match["Face"]["FaceId"]: match["Similarity"] for match in before["FaceMatches"]}
    now = {match["Face"]["FaceId"]: match["Similarity"] for match in moving.search()["FaceMatches"]}
    assert {face_id: now[face_id] for face_id in old} == old


def test_a_reprocess_outlives_its_workers(moving: Moving) -> None:
    moving.begin("mortal")
    moving.fill(FACES)
    moving.start()
    rng = np.random.default_rng(5)
    for name in moving.own:
        moving.kill(name)
    moving.until_done(180, meanwhile=lambda: rng.random() < 0.02 and moving.kill(rng.choice(moving.own)))
    assert moving.status()["Status"] == "SUCCEEDED"
    moving.check_complete(TWO)
    assert moving.embedded() == FACES


def test_the_same_from_a_shell(moving: Moving) -> None:
    moving.begin("shell")
    assert moving.command("crops", "show", "shell").splitlines()[1].split() == ["KeepCrops", "yes"]
    moving.command("crops", "drop", "shell")
    moving.index("biden-0")
    moving.command("crops", "keep", "shell")
    moving.index("obama-0")
    shown = moving.command("reprocess", "start", "shell", "--to", TWO, "--on-failure", "keep-out", "--wait")
    assert "SUCCEEDED" in shown
    assert "NO_SOURCE" in moving.command("reprocess", "failures", "shell")
    assert "ROLLED_BACK" in moving.command("reprocess", "rollback", "shell")
    assert '"Deleted": 1' in moving.command("crops", "purge", "shell", "--json")
