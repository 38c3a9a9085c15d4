"""Prepared networks: made once, held against the originals, never trusted without their digest."""

import dataclasses
import errno
import fcntl
import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

import onnx
import pytest
from onnx import numpy_helper

from app.assets import models_folder, samples_folder
from app.config import Settings
from app.domain.face_models import NEWEST, SFACE
from workers.vision import graphs
from workers.vision.engine import FaceEngine
from workers.vision.preparation import prepared_detector, prepared_embedder
from workers.vision.sessions import ModelError

pytestmark = pytest.mark.models


@pytest.fixture
def fresh(settings: Settings, portraits: dict[str, bytes], tmp_path: Path) -> Settings:
    """A cache with the originals and the sample portraits, and nothing prepared."""
    own = dataclasses.replace(settings, cache_dir=tmp_path, models_dir=None)
    for folder in (models_folder, samples_folder):
        shutil.copytree(folder(settings), folder(own), ignore=shutil.ignore_patterns("prepared"))
    return own


def prepared_files(settings: Settings) -> dict[str, Path]:
    files = (models_folder(settings) / "prepared").iterdir()
    return {path.name.split("-")[0] + path.suffix: path for path in files if path.suffix != ".lock"}


def test_networks_are_prepared_once_and_say_so(fresh: Settings) -> None:
    first = prepared_embedder(fresh, NEWEST)
    path = prepared_files(fresh)["face_recognition_sface_2021dec.onnx"]
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["made_from"] == SFACE.sha256
    assert record["compared"] == 5 + 2  # the sample portraits, and noise
    assert "Changed by Rekollect" in record["notice"]
    assert "Apache-2.0" in record["notice"]
    assert onnx.load_from_string(first).doc_string == graphs.NOTICE
    before = path.stat().st_mtime_ns
    assert prepared_embedder(fresh, NEWEST) == first
    assert path.stat().st_mtime_ns == before


def test_a_damaged_prepared_file_is_made_again(fresh: Settings) -> None:
    first = prepared_detector(fresh, NEWEST.detector)
    path = prepared_files(fresh)["face_detection_yunet_2023mar.onnx"]
    path.write_bytes(first[:-1] + bytes([first[-1] ^ 1]))
    assert prepared_detector(fresh, NEWEST.detector) == first
    assert path.read_bytes() == first


def rounded(prepare: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """Prepare a network and lose what is behind the second digit of its larger weights."""

    def wrong(model: bytes) -> bytes:
        proto = onnx.load_from_string(prepare(model))
        for weight in proto.graph.initializer:
            values = numpy_helper.to_array(weight)
            if values.size > 1000:
                weight.CopyFrom(numpy_helper.from_array(values.round(2), weight.name))
        return bytes(proto.SerializeToString())

    return wrong


@pytest.mark.parametrize("with_samples", [True, False])
def test_a_detector_that_sees_pictures_differently_is_refused(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch, with_samples: bool
) -> None:
    if not with_samples:
        shutil.rmtree(samples_folder(fresh))
    monkeypatch.setattr(graphs, "prepare_detector", rounded(graphs.prepare_detector))
    with pytest.raises(ModelError, match="gives other numbers once it is prepared"):
        prepared_detector(fresh, NEWEST.detector)
    assert prepared_files(fresh) == {}


def test_a_detector_that_lacks_a_result_is_refused(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = graphs.prepare_detector

    def lacking(model: bytes) -> bytes:
        proto = onnx.load_from_string(prepare(model))
        del proto.graph.output[-1]
        return bytes(proto.SerializeToString())

    monkeypatch.setattr(graphs, "prepare_detector", lacking)
    with pytest.raises(ModelError, match="has 12 results, and 11 once it is prepared"):
        prepared_detector(fresh, NEWEST.detector)


def test_where_files_cannot_be_locked_each_process_prepares_for_itself(
    fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(stream: IO[str], operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert prepared_detector(fresh, NEWEST.detector)
    assert "face_detection_yunet_2023mar.onnx" in prepared_files(fresh)


def test_a_network_that_sees_faces_differently_is_refused(fresh: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "prepare_embedder", rounded(graphs.prepare_embedder))
    with pytest.raises(ModelError, match="gives other numbers once it is prepared"):
        prepared_embedder(fresh, NEWEST)
    assert "face_recognition_sface_2021dec.onnx" not in prepared_files(fresh)


def test_workers_that_start_together_prepare_it_once(fresh: Settings) -> None:
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: prepared_embedder(fresh, NEWEST), range(3)))
    assert len(set(results)) == 1
    assert len(prepared_files(fresh)) == 4


def test_without_a_folder_to_write_to_the_engine_works(fresh: Settings, portraits: dict[str, bytes]) -> None:
    (models_folder(fresh) / "prepared").write_text("in the way")
    assert len(FaceEngine.load(fresh, NEWEST).analyze(portraits["obama"])) == 1
