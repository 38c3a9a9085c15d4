"""`rekollect evaluate` on real pictures with the real engine: its figures are those that the engine itself gives."""

import argparse
import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from app.cli import evaluate as command
from app.config import Settings
from app.db.session import Database
from app.domain.face_models import Preprocessing
from app.local.postgres import LocalPostgres
from tests.fresh import fresh_database
from tests.second_model import register_second_model, write_second_embedder
from tests.vision.pictures import jpeg, side_by_side
from workers.evaluation.engine import EngineRecognizer
from workers.evaluation.enrolment import NoFace
from workers.evaluation.options import Options
from workers.vision.engine import FaceEngine

pytestmark = pytest.mark.models

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rekollect(settings: Settings, tmp_path: Path) -> Run:
    """Run `rekollect evaluate` in an empty folder, with the machine's own models."""

    def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "app.cli.main", "evaluate", *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run


def told(run: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert run.returncode == 0, run.stderr
    found: dict[str, Any] = json.loads(run.stdout)
    return found


@pytest.fixture
def known(tmp_path: Path, portraits: dict[str, bytes]) -> Path:
    """A CSV of labelled pictures: three of one person, one of another, and one of nobody."""
    lines = [("path", "person")]
    nobody = jpeg(np.full((200, 200, 3), 90, np.uint8))
    for name, image in {**portraits, "nobody": nobody}.items():
        if name != "obama_partial_face":
            (tmp_path / f"{name}.jpg").write_bytes(image)
            lines.append((f"{name}.jpg", name.rstrip("23")))
    return written(tmp_path / "who.csv", lines)


def written(file: Path, lines: list[tuple[str, ...]]) -> Path:
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows(lines)
    return file


def test_figures_are_those_of_the_engine(
    rekollect: Run, known: Path, engine: FaceEngine, portraits: dict[str, bytes]
) -> None:
    found = told(rekollect(known, "--json", "--gallery", "2"))
    assert (found["pictures"], found["persons"], found["genuine_pairs"], found["impostor_pairs"]) == (5, 3, 3, 7)
    assert [(Path(path).name, why) for path, why in found["failures_to_enrol"].items()] == [("nobody.jpg", "no face")]
    names = ("obama", "obama2", "obama3")
    embeddings = [np.frombuffer(engine.analyze(portraits[name])[0].embedding, "<f4") for name in names]
    cosines = sorted(float(one @ other) for one, other in combinations(embeddings, 2))
    assert [pair["score"] for pair in found["least_alike_of_one"]] == pytest.approx(cosines, abs=1e-4)
    assert found["equal_error_rate"] == 0.0
    assert found["search"][0]["gallery"] == 2


def test_the_summary_and_the_report_are_written(rekollect: Run, known: Path, tmp_path: Path) -> None:
    run = rekollect(known, "--report", "report.html", "--peers", "opencv,dlib", "--threads", "1")
    assert run.returncode == 0, run.stderr
    assert "equal error rate" in run.stdout
    assert "OpenCV" in run.stdout
    left_out = "rekollect: dlib is left out: face_recognition is not installed\n"
    assert (left_out in run.stderr) == (find_spec("face_recognition") is None)
    text = (tmp_path / "report.html").read_text()
    assert "Evaluation of face model version 1.0" in text
    assert "nobody.jpg" in text


def test_pairs_in_folds_are_judged(rekollect: Run, known: Path) -> None:
    lines = [("left", "right", "same", "fold")]
    for fold in "ab":
        lines += [("obama.jpg", "obama2.jpg", "1", fold), ("obama3.jpg", "biden.jpg", "0", fold)]
    found = told(rekollect(written(known.with_name("pairs.csv"), lines), "--json"))
    assert found["accuracy"] == {"mean": 1.0, "standard_deviation": 0.0, "folds": 2}
    assert (found["persons"], found["search"]) == (None, [])


def test_a_folder_in_the_layout_of_lfw_is_judged(rekollect: Run, portraits: dict[str, bytes], tmp_path: Path) -> None:
    for name, place in {
        "obama": "O_P/O_P_0001",
        "obama2": "O_P/O_P_0002",
        "obama3": "O_P/O_P_0003",
        "biden": "B/B_0001",
    }.items():
        picture = tmp_path / "lfw" / "pictures" / f"{place}.jpg"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(portraits[name])
    (tmp_path / "lfw" / "pairs.txt").write_text("2\t1\nO_P\t1\t2\nO_P\t1\tB\t1\nO_P\t2\t1\nB\t1\tO_P\t2\n")
    found = told(rekollect("lfw", "--json"))
    assert (found["pictures"], found["genuine_pairs"], found["impostor_pairs"]) == (3, 2, 2)
    assert (found["accuracy"]["mean"], found["accuracy"]["folds"], found["search"]) == (1.0, 2, [])
    searched = told(rekollect("lfw", "--json", "--all-pairs", "--gallery", "1", "2"))
    assert (searched["pictures"], searched["genuine_pairs"], searched["impostor_pairs"]) == (4, 3, 3)
    assert [one["searches_of_strangers"] + one["searches_of_enrolled"] for one in searched["search"]] == [3, 2]


def test_a_file_is_measured_before_it_is_a_version(
    rekollect: Run, known: Path, settings: Settings, tmp_path: Path
) -> None:
    path = write_second_embedder(settings, tmp_path / "second.onnx")
    own = {"REKOLLECT_CACHE_DIR": str(tmp_path / "cache"), "REKOLLECT_MODELS_DIR": str(_models(settings))}
    run = rekollect(known, "--json", "--model", path, "--mean", "0", "--std", "1", **own)
    found = told(run)
    assert "not fitted to this model" in run.stderr
    assert found["recognizer"] == "face model version second.onnx"
    assert found["equal_error_rate"] == 0.0


def test_a_registered_version_is_measured(
    rekollect: Run, known: Path, settings: Settings, postgres: LocalPostgres, tmp_path: Path
) -> None:
    own = Settings(models_dir=_models(settings), cache_dir=tmp_path / "cache")
    environment = {"REKOLLECT_CACHE_DIR": str(own.cache_dir), "REKOLLECT_MODELS_DIR": str(own.models_dir)}
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url)
        register_second_model(database, own, tmp_path)
        database.close()
        run = rekollect(known, "--json", "--model", "2.0", REKOLLECT_DATABASE_URL=url, **environment)
        unknown = rekollect(known, "--model", "3.0", REKOLLECT_DATABASE_URL=url)
    assert told(run)["recognizer"] == "face model version 2.0"
    assert (unknown.returncode, unknown.stderr) == (1, "rekollect: there is no face model version 3.0\n")


def _models(settings: Settings) -> Path:
    return settings.models_dir or settings.cache / "models"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("gone",), "gone does not exist"),
        (("who.csv", "--fit"), "a curve needs 1000 pairs of strangers"),
        (("who.csv", "--gallery", "9"), "a gallery of 9 persons cannot be made of 3"),
        (("who.csv", "--model", "2.0"), "not set: REKOLLECT_DATABASE_URL"),
        (("who.csv", "--model", "gone.onnx"), "gone.onnx"),
        (("who.csv", "--model", "who.csv"), "no embedder"),
        (("who.csv", "--report", "gone/report.html"), "gone is no folder"),
    ],
)
def test_what_people_can_mend_is_one_line(rekollect: Run, known: Path, words: tuple[str, ...], said: str) -> None:
    run = rekollect(*words, REKOLLECT_CACHE_DIR=str(known.parent / "cache"), **_where(known))
    assert run.returncode == 1
    assert run.stdout == ""
    assert len(run.stderr.splitlines()) == 1
    assert said in run.stderr


def _where(known: Path) -> dict[str, str]:
    settings = Settings.from_environment()
    return {"REKOLLECT_MODELS_DIR": str(_models(settings)), "REKOLLECT_DATABASE_URL": ""}


def test_what_is_asked_reaches_the_process(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    words = ["lfw", "--all-pairs", "--gallery", "5", "9", "--fit", "--model", "2.1", "--channels", "bgr", "--mean", "1"]
    words += ["--peers", "opencv", "--report", "r.html", "--json", "--threads", "3"]
    read = Options.read(json.dumps(command.options(parser.parse_args(words))))
    assert read == Options(
        place=Path("lfw"),
        all_pairs=True,
        gallery=[5, 9],
        fit=True,
        model="2.1",
        dimension=None,
        preprocessing=Preprocessing("BGR", (1.0, 1.0, 1.0), (127.5, 127.5, 127.5)),
        peers=["opencv"],
        report=Path("r.html"),
        json=True,
        threads=3,
    )


def test_the_face_that_counts_is_the_largest_or_the_one_in_the_middle(
    engine: FaceEngine, portraits: dict[str, bytes]
) -> None:
    picture = side_by_side(portraits["biden"], portraits["obama"], portraits["biden"], heights=(600, 350, 500))
    largest = EngineRecognizer(engine, central=False).embed(picture).embedding
    central = EngineRecognizer(engine, central=True).embed(picture).embedding
    biden, obama = (
        EngineRecognizer(engine, central=False).embed(portraits[name]).embedding for name in ("biden", "obama")
    )
    assert float(largest @ biden) > 0.6
    assert float(central @ obama) > 0.6
    with pytest.raises(NoFace):
        EngineRecognizer(engine, central=True).embed(jpeg(np.full((200, 200, 3), 90, np.uint8)))


@pytest.mark.faces
def test_astronauts_are_told_apart_and_the_twins_are_shown(rekollect: Run, faces_dir: Path, tmp_path: Path) -> None:
    lines = [("path", "person")]
    lines += [(str(path), path.stem) for path in sorted((faces_dir / "portraits").glob("*.jpg"))]
    lines += cut_out(faces_dir, tmp_path)
    found = told(rekollect(written(tmp_path / "astronauts.csv", lines), "--json", "--fit", "--report", "report.html"))
    assert found["genuine_pairs"] >= 40
    assert found["failures_to_enrol"] == {}
    assert found["equal_error_rate"] < 0.03
    assert found["search"][0]["rank_one"] > 0.95
    twins = found["most_alike_of_two"][0]
    assert {Path(twins["left"]).stem, Path(twins["right"]).stem} == {"mark_kelly", "scott_kelly"}
    # A group of similar people: the curve asks for higher cosines than that of the many, but not for other ones.
    assert [anchor["extrapolated"] for anchor in found["fit"]["anchors"]] == [True, True]
    assert 0.40 < found["fit"]["anchors"][0]["cosine"] < 0.50 < found["fit"]["anchors"][1]["cosine"] < 0.62


def cut_out(faces_dir: Path, folder: Path) -> list[tuple[str, str]]:
    """Cut the named upright faces out of the mission photos, each with its surroundings."""
    lines = []
    with (faces_dir / "scenes_faces.csv").open(newline="") as stream:
        named = [row for row in csv.DictReader(stream) if row["identity"] and row["upright_rotation"] == "0"]
    for number, row in enumerate(named):
        left, top, width, height = (float(row[name]) for name in ("left", "top", "width", "height"))
        scene = cv2.imread(str(faces_dir / row["file"]))
        assert scene is not None
        upper, lower = max(0, round(top - 0.6 * height)), round(top + 1.6 * height)
        cut = scene[upper:lower, max(0, round(left - 0.6 * width)) : round(left + 1.6 * width)]
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), cut)
        lines.append((str(path), row["identity"]))
    return lines
