"""Queries that pick faces which are to be deleted: by age, and by the S3 object that they were found in."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import FACE_OBJECT, faces
from app.db.session import Row

_object: sa.ColumnElement[str] = sa.literal_column(FACE_OBJECT, sa.Text)


def page_by_age(connection: Connection, collection_id: int, *, after: int, age: timedelta, limit: int) -> list[Row]:
    """List faces in the order of their numbers, which is that of their age: face_no, face_id, user_id, and if it is old."""
    statement = (
        sa.select(
            faces.c.face_no,
            faces.c.face_id,
            faces.c.user_id,
            (faces.c.created_at < sa.func.now() - age).label("old"),
        )
        .where(faces.c.collection_id == collection_id, faces.c.face_no > after)
        .order_by(faces.c.face_no)
        .limit(limit)
    )
    return list(connection.execute(statement))


def of_objects(connection: Connection, collection_id: int, bucket: str, keys: list[str]) -> list[Row]:
    """List the faces that were found in S3 objects: face_id, user_id."""
    statement = sa.select(faces.c.face_id, faces.c.user_id).where(
        faces.c.collection_id == collection_id,
        _object.in_([key[:512] for key in keys]),
        faces.c.source["S3Object"]["Name"].astext.in_(keys),
        faces.c.source["S3Object"]["Bucket"].astext == bucket,
    )
    return list(connection.execute(statement))
