"""The workers' part of approximate indexes: each collection's are brought to what it asks for, one bucket at a time.

One worker of all has the turn. A look begins with what the tables say, so it may die anywhere; until every bucket of a
collection has its index, its searches are exact.
"""

import logging
import threading
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db import dedicated_buckets, face_models, hnsw, search_tables
from app.db import search_indexes as rows
from app.db.session import Database, Row
from app.domain.face_models import FaceModelVersion
from app.domain.search_modes import DEAD_SHARE, LOOK_EVERY, PAUSE, SearchMode, build_megabytes
from app.errors import ServiceUnavailable
from app.services import recall

log = logging.getLogger(__name__)


class IndexKeeper:
    """Builds, measures, makes anew and drops approximate indexes; `megabytes` is the most memory that one is built in."""

    def __init__(self, database: Database, *, megabytes: int) -> None:
        self._database = database
        self._megabytes = megabytes

    def is_due(self) -> bool:
        """Tell whether there is something to look at."""
        with self._database.statement() as connection:
            return rows.any_due(connection)

    def run(self, stopping: threading.Event) -> None:
        """Look at all that is due, unless another worker does; what fails is put off."""
        try:
            with self._database.session() as session:
                if not hnsw.take_turn(session):
                    return
                while not stopping.is_set() and (due := rows.next_due(session)) is not None:
                    self._try(session, due)
        except ServiceUnavailable as error:  # Postgres is away: what is due stands there
            log.warning("search_indexes_wait", exc_info=error)

    def _try(self, session: Connection, due: Row) -> None:
        number = due.collection_id
        try:
            pause = self._look(session, due)
        except (sa.exc.DBAPIError, ServiceUnavailable) as error:
            if isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated:
                raise
            pause = LOOK_EVERY
            if not hnsw.was_stopped(error):
                log.error("search_index_failed", exc_info=error, extra={"collection_id": number})
                rows.note_problem(session, number, hnsw.reason(error))
                pause = PAUSE
        rows.put_off(session, number, pause=pause)

    def _look(self, session: Connection, due: Row) -> timedelta:
        """Do the next thing for a collection; gives after which time to look again."""
        collection = rows.owner(session, due.collection_id)
        if collection is None:  # its tables go, and their indexes with them
            rows.forget(session, due.collection_id)
            return LOOK_EVERY
        wanted = _wanted(collection)
        self._drop_others(session, collection, wanted)
        if not wanted:
            rows.serve(session, collection.collection_id, None)
            if collection.search_mode == SearchMode.EXACT:
                rows.forget(session, collection.collection_id)
            return LOOK_EVERY
        version = face_models.get(session, collection.model)
        missing = [bucket for bucket in wanted if not hnsw.is_built(session, _table(version, bucket, collection))]
        if missing:
            self._build(session, collection, version, missing[0], [one for one in wanted if one not in missing])
            return timedelta()  # others have their turn
        if due.buckets != wanted:  # whoever built the last one died before it was noted
            rows.note_built(session, collection, wanted)
        rows.serve(session, collection.collection_id, collection.model)
        if _dead_share(due, collection) > DEAD_SHARE:
            self._rebuild(session, collection, version)
            return timedelta()
        if due.is_to_be_measured:
            measured = recall.measure(self._database, collection)
            rows.note_recall(session, collection.collection_id, measured)
            log.info("search_recall", extra={"collection_id": collection.collection_id, "recall": measured.recall})
        return LOOK_EVERY

    def _drop_others(self, session: Connection, collection: Row, wanted: list[int]) -> None:
        """Drop the indexes that the collection has no use for any more: of another version, or all of them."""
        for version in face_models.list_all(session):
            for bucket in dedicated_buckets.owned(session, collection.collection_id):
                if version.version != collection.model or bucket not in wanted:
                    hnsw.drop(session, _table(version, bucket, collection))

    def _build(
        self, session: Connection, collection: Row, version: FaceModelVersion, bucket: int, built: list[int]
    ) -> None:
        if not built:
            rows.begin(session, collection, built=built)
        faces = collection.live_faces
        memory = build_megabytes(faces, version.dimension, most=self._megabytes)
        hnsw.build(session, _table(version, bucket, collection), megabytes=memory)
        rows.note_built(session, collection, [*built, bucket])
        log.info("search_index_built", extra={"collection_id": collection.collection_id, "bucket": bucket})

    def _rebuild(self, session: Connection, collection: Row, version: FaceModelVersion) -> None:
        memory = build_megabytes(collection.live_faces, version.dimension, most=self._megabytes)
        for bucket in collection.buckets:
            hnsw.rebuild(session, _table(version, bucket, collection), megabytes=memory)
        # What was deleted since it was read is dead in some of them.
        rows.begin(session, collection, built=collection.buckets)
        log.info("search_indexes_rebuilt", extra={"collection_id": collection.collection_id})


def _wanted(collection: Row) -> list[int]:
    """List the buckets that are to have an index: all, once the collection has left its shared one; rows move faster before."""
    is_grown = not dedicated_buckets.is_shared(collection.buckets[0])
    return collection.buckets if is_grown and collection.search_mode == SearchMode.APPROXIMATE else []


def _dead_share(due: Row, collection: Row) -> float:
    """Tell how much of the indexes is faces that were deleted since they were built."""
    users = max(0, collection.live_users - due.users)  # they take numbers too
    came = max(0, collection.next_no - due.next_no - users)
    dead = due.faces + came - collection.live_faces
    return float(dead / max(1, due.faces + came))


def _table(version: FaceModelVersion, bucket: int, collection: Row) -> str:
    return search_tables.own_table(version, bucket, collection.collection_id)
