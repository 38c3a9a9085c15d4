"""Which face model version is measured: a built-in one, a registered one, or a file that is not registered yet.

A registered version never changes, its curve included. So a curve has to be fitted before, to the file itself.
"""

from dataclasses import replace
from pathlib import Path

from app.assets import keep_model
from app.config import Settings
from app.db import face_models
from app.db.session import Database
from app.domain.face_models import NEWEST, VERSION_1, VERSIONS, FaceModelVersion, Preprocessing, registered
from workers.evaluation.errors import EvaluationError
from workers.evaluation.options import Options


def choose(settings: Settings, options: Options) -> FaceModelVersion:
    """Give the version that is asked for; raise EvaluationError, AssetError, ModelError or SettingsError."""
    if options.model is None:
        return NEWEST
    if options.dimension is not None:
        return _of_file(settings, Path(options.model), options.dimension, options.preprocessing)
    return VERSIONS.get(options.model) or _registered(settings, options.model)


def _registered(settings: Settings, name: str) -> FaceModelVersion:
    settings.require("database_url")
    database = Database(settings.database_url, pool_size=1)
    try:
        with database.transaction() as connection:
            version = face_models.find(connection, name)
    finally:
        database.close()
    if version is None:
        raise EvaluationError(f"there is no face model version {name}")
    return version


def _of_file(settings: Settings, path: Path, dimension: int, preprocessing: Preprocessing) -> FaceModelVersion:
    """Make a version of a file, with the curve of version 1.0 until its own is fitted."""
    file = keep_model(settings, path, licence="")
    return replace(registered("0.0", file, dimension, VERSION_1.curve, preprocessing), version=path.name)
