"""What a reprocess needs no pictures for: users' vectors in the new version, the switch, and the cleaning after it.

Each is a piece of one transaction of `app.services.reembedding`, which holds the locks of the collection and of the reprocess.
"""

from datetime import timedelta

from sqlalchemy.engine import Connection

from app.db import collections, face_models, second_versions, users
from app.db import reprocess_pages as pages
from app.db import reprocesses as rows
from app.db.session import Row
from app.domain.reprocesses import Reprocess, Status
from app.services import reprocesses
from app.services.users import remake_vector

_USERS_AT_ONCE = 50
_CLEANED_AT_ONCE = 500


def embed_users(connection: Connection, collection: Row, reprocess: Reprocess) -> bool:
    """Make the vectors of the next users from their faces; False where all have theirs."""
    found = users.list_page(connection, collection.collection_id, after=reprocess.user_cursor, limit=_USERS_AT_ONCE)
    version = face_models.get(connection, reprocess.to_model)
    for user in found:
        remake_vector(connection, collection, user, version)
    if found:
        rows.change(connection, reprocess.reprocess_id, user_cursor=found[-1].user_no)
    return bool(found)


def switch(connection: Connection, collection: Row, reprocess: Reprocess, *, window: timedelta) -> int:
    """Have the new version searched, unless it has none of the faces; give how many receivers are told."""
    if reprocess.is_fruitless:
        message = "None of the faces could be embedded, so nothing was changed; the failures say why."
        error = {"Code": "NOTHING_EMBEDDED", "Message": message, "Retryable": False}
        return reprocesses.end(connection, collection, reprocess, Status.FAILED, keep=timedelta(), error=error)[1]
    return reprocesses.end(connection, collection, reprocess, Status.SUCCEEDED, keep=window)[1]


def clean(connection: Connection, collection: Row, reprocess: Reprocess) -> None:
    """Remove the next part of the version that is not searched, or note that all is clean."""
    versions = {"model": collection.model, "indexes_other": False}
    collections.set_versions(connection, collection.collection_id, other=collection.other_model, **versions)
    numbers = pages.next_faces(
        connection, collection.collection_id, after=reprocess.face_cursor, limit=_CLEANED_AT_ONCE
    )
    found = users.list_page(connection, collection.collection_id, after=reprocess.user_cursor, limit=_CLEANED_AT_ONCE)
    if numbers:
        second_versions.settle_faces(connection, collection, numbers)
        rows.change(connection, reprocess.reprocess_id, face_cursor=numbers[-1])
    elif found:
        second_versions.settle_users(connection, collection, [user.user_no for user in found])
        rows.change(connection, reprocess.reprocess_id, user_cursor=found[-1].user_no)
    else:
        collections.set_versions(connection, collection.collection_id, other=None, **versions)
        rows.change(connection, reprocess.reprocess_id, cleaned_at=rows.NOW)
