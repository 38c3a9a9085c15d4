"""`rekollect models`: another embedder becomes a version that workers can open, or is refused with its reason."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from app import assets
from app.assets import models_folder, require_model
from app.cli.main import main
from app.config import Settings
from app.db import face_models, search_tables
from app.db.session import Database
from app.domain.face_models import NEWEST, VERSION_1, YUNET, Preprocessing, SimilarityCurve
from app.local.postgres import LocalPostgres
from tests.fresh import fresh_database
from tests.second_model import DIMENSION, write_second_embedder
from workers.vision.engines import Engines

pytestmark = pytest.mark.models

Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def database(postgres: LocalPostgres) -> Iterator[Database]:
    with fresh_database(postgres.url, migrated=True) as url:
        database = Database(url)
        yield database
        database.close()


@pytest.fixture
def own(settings: Settings, database: Database, tmp_path: Path) -> Settings:
    return Settings(
        database_url=database.url,
        models_dir=settings.models_dir or models_folder(settings),
        cache_dir=tmp_path / "cache",
    )


@pytest.fixture
def rekollect(own: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Command:
    """Run `rekollect models`; give its exit status and what it said."""
    monkeypatch.setenv("REKOLLECT_DATABASE_URL", own.database_url)
    monkeypatch.setenv("REKOLLECT_MODELS_DIR", str(own.models_dir))
    monkeypatch.setenv("REKOLLECT_CACHE_DIR", str(own.cache_dir))

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rekollect", "models", *arguments])
        status = main()
        said = capfd.readouterr()
        return status, said.out + said.err

    return run


def test_a_version_is_registered_and_can_be_opened(
    rekollect: Command, own: Settings, database: Database, tmp_path: Path, portraits: dict[str, bytes]
) -> None:
    path = write_second_embedder(own, tmp_path / "my model.onnx")
    options = ("--version", "2.0", "--mean", "0", "--std", "1", "--licence", "Apache-2.0")
    status, said = rekollect("add", str(path), *options)
    assert status == 0, said
    assert "96 dimensions" in said
    assert "WARNING" in said
    with database.transaction() as connection:
        version = face_models.get(connection, "2.0")
        assert face_models.list_registered(connection) == [version]
    assert (version.dimension, version.curve, version.preprocessing) == (DIMENSION, VERSION_1.curve, Preprocessing())
    assert require_model(own, version.embedder).read_bytes() == path.read_bytes()
    assert assets.verify_models(own, [version.embedder]) == [(version.embedder, True)]
    _, listed = rekollect("list")
    assert "face model version 2.0: 96 dimensions" in listed
    assert rekollect("verify")[0] == 0
    engines = Engines(own)
    (face,) = engines.of(version).analyze(portraits["obama"])
    (first,) = engines.of(NEWEST).analyze(portraits["obama"])
    assert (len(face.embedding), face.box) == (4 * DIMENSION, first.box)
    assert engines.of(version).embed([first.crop]) == [face.embedding]
    status, said = rekollect("add", str(path), *options)
    assert (status, "versions never change" in said) == (1, True)


def test_options_are_what_the_version_has(
    rekollect: Command, own: Settings, database: Database, tmp_path: Path
) -> None:
    path = write_second_embedder(own, tmp_path / "m.onnx", dimension=32)
    mean, std = ("123.675", "116.28", "103.53"), ("58.395", "57.12", "57.375")
    options = ("--channels", "bgr", "--mean", *mean, "--std", *std, "--curve", "20", "7")
    status, said = rekollect("add", str(path), "--version", "3.1", *options)
    assert (status, "WARNING" in said) == (0, False)
    with database.transaction() as connection:
        version = face_models.get(connection, "3.1")
        assert connection.exec_driver_sql("SELECT to_regclass('fv_3_1_d32_15')").scalar_one() is not None
    assert version.curve == SimilarityCurve(20, 7)
    assert version.preprocessing == Preprocessing("BGR", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
    assert search_tables.of_faces(version).name == "fv_3_1_d32"


def test_the_default_is_chosen_and_taken_back(
    rekollect: Command, own: Settings, database: Database, tmp_path: Path
) -> None:
    path = write_second_embedder(own, tmp_path / "m.onnx", dimension=16)
    rekollect("add", str(path), "--version", "4.0", "--mean", "0", "--std", "1")
    for wanted in ("4.0", "1.0"):
        assert rekollect("default", wanted)[0] == 0
        with database.transaction() as connection:
            assert face_models.get_default(connection).version == wanted
    assert rekollect("default", "8.8")[0] == 1


def test_what_is_no_embedder_is_refused_with_its_reason(rekollect: Command, own: Settings, tmp_path: Path) -> None:
    text = tmp_path / "text.onnx"
    text.write_text("no model")
    cases = {
        str(text): "no embedder",
        str(tmp_path / "missing.onnx"): "No such file",
        str(require_model(own, YUNET)): "112",
        str(write_tiny(tmp_path / "wide.onnx", 4000)): "2 to 2000",
        str(write_tiny(tmp_path / "company.onnx", 8, together=True)): "together",
    }
    for path, reason in cases.items():
        status, said = rekollect("add", path, "--version", "5.0")
        assert (status, reason in said) == (1, True), said


def write_tiny(path: Path, dimension: int, *, together: bool = False) -> Path:
    """Write a network that reads one row of pixels; `together` lets pictures of a batch colour each other."""
    tensor, weights = onnx.TensorProto.FLOAT, np.ones((112, dimension), np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["input"], ["row"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["row", "weights"], ["product"]),
    ]
    if together:
        nodes.append(helper.make_node("ReduceMean", ["product"], ["mean"], axes=[0], keepdims=1))
        nodes.append(helper.make_node("Add", ["product", "mean"], ["output"]))
    else:
        nodes.append(helper.make_node("Identity", ["product"], ["output"]))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", tensor, [1, 3, 112, 112])],
        [helper.make_tensor_value_info("output", tensor, [1, dimension])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path
