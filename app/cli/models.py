"""`rekollect models`: face model versions, the built-in one and those that are registered in the database."""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.engine import Connection

from app import assets
from app.cli import embedder_file
from app.config import Settings
from app.db import face_models
from app.db.session import Database
from app.domain.face_models import (
    TEMPLATE,
    VERSION_1,
    VERSION_NAME,
    VERSIONS,
    FaceModelVersion,
    SimilarityCurve,
    registered,
)

_PREPARATION_SECONDS = 120


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list versions and their files").set_defaults(run=list_)
    actions.add_parser("pull", help="pull what is missing; only pinned checksums pass").set_defaults(run=pull)
    actions.add_parser("verify", help="compare the files with their checksums").set_defaults(run=verify)
    choosing = actions.add_parser("default", help="choose the version of new collections")
    choosing.add_argument("version", type=_version_name)
    choosing.set_defaults(run=default)
    _configure_add(actions.add_parser("add", help="register another embedder as a new face model version"))


def _configure_add(adding: argparse.ArgumentParser) -> None:
    adding.add_argument("file", type=Path, help="ONNX file: 112 x 112 aligned crops in, one embedding each out")
    adding.add_argument("--version", required=True, type=_version_name, help="name of the version, as 2.0")
    adding.add_argument("--licence", default="", help="what may be done with the model, as a note")
    embedder_file.configure(adding)
    adding.add_argument("--template", choices=(TEMPLATE,), default=TEMPLATE, help="how faces are aligned")
    adding.add_argument(
        "--curve",
        nargs=2,
        type=float,
        metavar=("SLOPE", "OFFSET"),
        help="similarity = 100 / (1 + exp(-(slope * cosine - offset))), fitted on labelled pairs",
    )
    adding.set_defaults(run=add)


def _version_name(text: str) -> str:
    if not VERSION_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError("must be two numbers with a dot, as 2.0")
    return text


@contextmanager
def _transaction(settings: Settings) -> Iterator[Connection]:
    settings.require("database_url")
    database = Database(settings.database_url, pool_size=1)
    try:
        with database.transaction() as connection:
            yield connection
    finally:
        database.close()


def _versions(settings: Settings) -> list[FaceModelVersion]:
    """List the built-in versions, and where there is a database those that it knows."""
    if not settings.database_url:
        return list(VERSIONS.values())
    with _transaction(settings) as connection:
        return [*VERSIONS.values(), *face_models.list_registered(connection)]


def list_(arguments: argparse.Namespace) -> int:
    """Show each face model version, its files and whether they are here."""
    settings = Settings.from_environment()
    for version in _versions(settings):
        print(f"face model version {version.version}: {version.dimension} dimensions")
        for file in (version.detector, version.embedder):
            found = assets.find_model(settings, file)
            print(f"  {file.name}  {file.size / 1e6:.1f} MB  {file.licence}  {found or _advice(version)}")
    return 0


def _advice(version: FaceModelVersion) -> str:
    built_in = version.version in VERSIONS
    return "missing: rekollect models pull" if built_in else "missing: copy it into the folder of REKOLLECT_MODELS_DIR"


def pull(arguments: argparse.Namespace) -> int:
    """Pull every model file that is missing and have it prepared, compared with the original on the sample portraits."""
    settings = Settings.from_environment()
    assets.pull_models(settings, print)
    try:
        assets.pull_samples(settings, lambda line: None)
    except assets.AssetError:
        print("No sample portraits can be had: the prepared networks are compared on noise.")
    command = [sys.executable, "-m", "workers.vision.preparation"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_PREPARATION_SECONDS, check=False)
    if done.returncode != 0:
        raise assets.AssetError(f"The models cannot be prepared: {done.stderr.strip()}")
    print("prepared and compared with the originals")
    return 0


def verify(arguments: argparse.Namespace) -> int:
    """Compare every model file with its checksum."""
    settings = Settings.from_environment()
    files = dict.fromkeys(file for version in _versions(settings) for file in (version.detector, version.embedder))
    results = assets.verify_models(settings, list(files))
    for file, intact in results:
        print(f"{'ok     ' if intact else 'WRONG  '} {file.name}  sha256 {file.sha256}")
    return 0 if all(intact for _, intact in results) else 1


def default(arguments: argparse.Namespace) -> int:
    """Choose the face model version of new collections; those that exist keep theirs until they are reprocessed."""
    with _transaction(Settings.from_environment()) as connection:
        version = face_models.find(connection, arguments.version)
        if version is None:
            print(f"There is no face model version {arguments.version}.")
            return 1
        face_models.set_default(connection, version)
    print(f"New collections get face model version {version.version}.")
    return 0


def add(arguments: argparse.Namespace) -> int:
    """Look at the file, copy it into the folder of models, and register it."""
    settings = Settings.from_environment()
    settings.require("database_url")
    preprocessing = embedder_file.preprocessing(arguments)
    dimension = embedder_file.dimension(arguments.file)
    curve = VERSION_1.curve if arguments.curve is None else SimilarityCurve(*arguments.curve)
    if curve.slope <= 0:
        raise assets.AssetError("--curve: the slope must be above 0, because a higher cosine means more alike")
    file = assets.keep_model(settings, arguments.file, licence=arguments.licence)
    version = registered(arguments.version, file, dimension, curve, preprocessing)
    with _transaction(settings) as connection:
        added = face_models.insert(connection, version)
    if not added:
        print(f"Face model version {version.version} exists already, and versions never change: choose another name.")
        return 1
    print(f"face model version {version.version}: {version.dimension} dimensions, sha256 {file.sha256}")
    print(f"Every worker needs {file.name}; here it lies in {assets.models_folder(settings)}.")
    if arguments.curve is None:
        print(
            "WARNING: without --curve similarities follow the curve of version 1.0, which was not fitted to this model."
        )
    return 0
