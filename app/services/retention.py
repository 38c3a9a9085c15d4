"""Retention: the faces of a collection that are older than a number of days are deleted, a page in each step."""

from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, face_selection
from app.db.ticks import TickClaim
from app.errors import CollectionNotFound
from app.services import face_removal
from app.services.ticks import Progress

#: Faces that one step looks at, and so deletes, at most.
_PAGE = 500


def delete_old(connection: Connection, held: TickClaim) -> Progress:
    """Delete the next page of old faces. Numbers rise with time, so behind a page without any there is none."""
    account_id, name = _account(held), held.settings["CollectionId"]
    collection = collections.lock_for_writing(connection, account_id, name)
    if collection is None:
        raise CollectionNotFound(name)
    so_far: dict[str, Any] = held.result or {"FacesDeleted": 0, "FacesTakenFromUsers": 0}
    page = face_selection.page_by_age(
        connection,
        collection.collection_id,
        after=(held.cursor or {}).get("After", 0),
        age=timedelta(days=held.settings["Days"]),
        limit=_PAGE,
    )
    old = [row for row in page if row.old]
    deleted = face_removal.remove(connection, account_id, name, old, schedule_id=held.schedule_id)
    result = {
        "FacesDeleted": so_far["FacesDeleted"] + deleted,
        "FacesTakenFromUsers": so_far["FacesTakenFromUsers"] + sum(row.user_id is not None for row in old),
    }
    return Progress({"After": page[-1].face_no} if old and len(page) == _PAGE else None, result)


def _account(held: TickClaim) -> int:
    if held.account_id is None:
        raise ValueError("a schedule of faces belongs to an account")
    return held.account_id
