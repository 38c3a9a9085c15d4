"""Queries on face model versions: the built-in ones are data of the program, all others lie in Postgres.

A registered version never changes, so whoever read it once may keep it.
"""

from dataclasses import asdict
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from app.db import search_tables
from app.db.schema import face_models
from app.db.session import Row
from app.domain.face_models import (
    NEWEST,
    TEMPLATE,
    VERSIONS,
    FaceModelVersion,
    ModelFile,
    Preprocessing,
    SimilarityCurve,
    registered,
)


def find(connection: Connection, version: str) -> FaceModelVersion | None:
    """Find a face model version by its name."""
    if version in VERSIONS:
        return VERSIONS[version]
    row = connection.execute(sa.select(face_models).where(face_models.c.version == version)).one_or_none()
    return None if row is None else _version(row)


def get(connection: Connection, version: str) -> FaceModelVersion:
    """Give the version that a collection or an embedding names; there is always one."""
    found = find(connection, version)
    if found is None:
        raise LookupError(f"face model version {version} is not registered in this database")
    return found


def list_registered(connection: Connection) -> list[FaceModelVersion]:
    """List the versions that are not built in, in the order of their registration."""
    statement = sa.select(face_models).order_by(face_models.c.created_at, face_models.c.version)
    return [_version(row) for row in connection.execute(statement)]


def insert(connection: Connection, version: FaceModelVersion) -> bool:
    """Register a version and make its search tables; False where there is one of that name."""
    file, preprocessing = version.embedder, version.preprocessing
    values: dict[str, Any] = {
        "version": version.version,
        "file_name": file.name,
        "sha256": file.sha256,
        "size": file.size,
        "licence": file.licence,
        "dimension": version.dimension,
        "template": TEMPLATE,
        **asdict(preprocessing),
        "mean": list(preprocessing.mean),
        "deviation": list(preprocessing.deviation),
        "slope": version.curve.slope,
        "curve_offset": version.curve.offset,
    }
    statement = (
        postgresql.insert(face_models).values(**values).on_conflict_do_nothing().returning(face_models.c.version)
    )
    if version.version in VERSIONS or connection.execute(statement).one_or_none() is None:
        return False
    search_tables.create(connection, version)
    return True


def list_all(connection: Connection) -> list[FaceModelVersion]:
    """List every version, the built-in ones first."""
    return [*VERSIONS.values(), *list_registered(connection)]


def get_default(connection: Connection) -> FaceModelVersion:
    """Give the version of new collections: the one that was chosen, otherwise the newest built-in one."""
    row = connection.execute(sa.select(face_models).where(face_models.c.is_default)).one_or_none()
    return NEWEST if row is None else _version(row)


def set_default(connection: Connection, version: FaceModelVersion) -> None:
    """Choose the version of new collections."""
    connection.execute(sa.update(face_models).where(face_models.c.is_default).values(is_default=False))
    connection.execute(sa.update(face_models).where(face_models.c.version == version.version).values(is_default=True))


def _version(row: Row) -> FaceModelVersion:
    return registered(
        row.version,
        ModelFile(row.file_name, row.sha256, row.size, row.licence, url=""),
        row.dimension,
        SimilarityCurve(row.slope, row.curve_offset),
        Preprocessing(row.channels, tuple(row.mean), tuple(row.deviation)),
    )
