"""Takes away files of what is there no more: what was deleted from the database leaves the machines' disks too."""

import time

from app.db import vector_changes
from app.db.session import Database
from workers.segments.folder import Folder
from workers.segments.layout import Head

#: How long a file may hold a vector that was deleted: no search finds it, but it is still there.
_WITHDRAWN_SECONDS = 3600.0


def tidy(database: Database, folder: Folder) -> None:
    """Take away the files of deleted collections, of versions that are not searched, and those that hold deleted vectors."""
    if not folder.files():
        return
    with folder.lock() as is_ours:
        if not is_ours:
            return
        for path, head in list(folder.heads()):
            reason = "foreign" if head is None else _why(database, head)
            if reason is not None:
                folder.remove(path, reason)


def _why(database: Database, head: Head) -> str | None:
    with database.transaction() as connection:
        if vector_changes.history(connection) != head.history:  # of another database, which looks after it
            return None
        collection = vector_changes.find(connection, head.collection_id)
        if collection is None:
            return "collection deleted"
        if collection.model_seq > head.change_seq:
            return "version"
        if time.time() - head.built_at < _WITHDRAWN_SECONDS:
            return None
        number, seq = head.collection_id, head.change_seq
        is_withdrawn = vector_changes.any_withdrawn(connection, number, seq, of_faces=head.of_faces)
        return "vectors deleted" if is_withdrawn else None
