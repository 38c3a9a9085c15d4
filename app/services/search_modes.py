"""How collections are searched, as callers see it: shown with what an approximate index is worth, and changed."""

from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, dedicated_buckets, face_models, hnsw, search_indexes, search_tables
from app.db.session import Database, Row
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.domain.jobs import iso
from app.domain.search_modes import IndexStatus, SearchMode, recall_document
from app.errors import CollectionNotFound
from app.services import audit
from app.services.collections import get

Document = dict[str, Any]


class SearchModes:
    """The search modes of all collections; those above `own_bucket_faces` have buckets that can be indexed."""

    def __init__(self, database: Database, *, own_bucket_faces: int, actor: Actor = OPERATOR) -> None:
        self._database = database
        self._actor = actor
        self._own_bucket_faces = own_bucket_faces

    def get(self, account_id: int, name: str) -> Document:
        """Show a collection and how it is searched; raises CollectionNotFound."""
        with self._database.transaction() as connection:
            return self._document(connection, get(connection, account_id, name))

    def change(self, account_id: int, name: str, mode: SearchMode) -> Document:
        """Say how a collection is to be searched, and show it; a build that it asks for no more ends."""
        with self._database.transaction() as connection:
            collection = collections.lock(connection, get(connection, account_id, name).collection_id)
            if collection is None:  # deleted between the two looks
                raise CollectionNotFound(name)
            if collection.search_mode != mode:
                search_indexes.ask(connection, collection.collection_id, mode)
                audit.note(connection, Line(account_id, self._actor, Act.SET_SEARCH_MODE, name))
        if mode is SearchMode.EXACT:
            self._stop_builds(collection)
        return self.get(account_id, name)

    def _stop_builds(self, collection: Row) -> None:
        with self._database.transaction() as connection:
            version = face_models.get(connection, collection.model)
            for bucket in dedicated_buckets.owned(connection, collection.collection_id):
                hnsw.stop(connection, search_tables.own_table(version, bucket, collection.collection_id))

    def _document(self, connection: Connection, collection: Row) -> Document:
        document = {
            "CollectionId": collection.name,
            "FaceModelVersion": collection.model,
            "FaceCount": collection.live_faces,
            "UserCount": collection.live_users,
            "CreatedAt": iso(collection.created_at),
            "SearchMode": collection.search_mode,
            "Links": {"Self": f"/v1/collections/{collection.name}"},
        }
        if collection.search_mode == SearchMode.APPROXIMATE:
            document["Index"] = self._index(collection, search_indexes.find(connection, collection.collection_id))
        return document

    def _index(self, collection: Row, index: Row | None) -> Document:
        """Render the approximate index of a collection that asks for one."""
        own = [bucket for bucket in collection.buckets if not dedicated_buckets.is_shared(bucket)]
        built = [bucket for bucket in own if index is not None and bucket in index.buckets]
        shown: Document = {"Status": IndexStatus.BUILDING, "Buckets": len(own), "Built": len(built)}
        if len(own) < len(collection.buckets):
            shown["Status"] = IndexStatus.WAITING
            shown["Message"] = (
                f"Only collections of more than {self._own_bucket_faces} faces are indexed, once they have search "
                "partitions of their own; until then every search is exact."
            )
        elif collection.indexed_model == collection.model:
            shown["Status"] = IndexStatus.READY
        if index is None:
            return shown
        if index.problem is not None:
            shown["Message"] = index.problem
        return shown | recall_document(index.recall, index.sample, index.matches, index.measured_at)
