"""Kept crops of a collection: whether they are kept, how many there are, and none of them any more."""

from typing import Any

from app.db import collections, face_crops
from app.db.session import Database
from app.domain import crops
from app.domain.audit import OPERATOR, Act, Actor, Line
from app.errors import CollectionNotFound
from app.services import audit

#: Crops that one transaction deletes, so that it stays short.
_DELETED_AT_ONCE = 1000

#: Transactions of one call, so that no request lasts long.
_TRANSACTIONS = 10


class Crops:
    """The kept crops of all collections; `default` is the operator's setting."""

    def __init__(self, database: Database, *, default: bool, actor: Actor = OPERATOR) -> None:
        self._database = database
        self._default = default
        self._actor = actor

    def get(self, account_id: int, name: str) -> dict[str, Any]:
        """Tell whether new faces' crops are kept and how many are."""
        with self._database.transaction() as connection:
            collection = collections.find(connection, account_id, name)
            if collection is None:
                raise CollectionNotFound(name)
            kept = face_crops.count(connection, collection.collection_id)
        keeps = crops.wanted(collection.tags, default=self._default)
        return {"CollectionId": name, "KeepCrops": keeps, "Crops": kept}

    def keep(self, account_id: int, name: str, *, keep: bool) -> dict[str, Any]:
        """Say whether crops of new faces are kept, as the tag does; those that there are stay."""
        with self._database.transaction() as connection:
            collection = collections.lock_for_writing(connection, account_id, name)
            if collection is None:
                raise CollectionNotFound(name)
            tags = {**collection.tags, crops.TAG: str(keep).lower()}
            collections.set_tags(connection, collection.collection_id, tags)
            audit.note(connection, Line(account_id, self._actor, Act.KEEP_CROPS, name))
        return self.get(account_id, name)

    def purge(self, account_id: int, name: str) -> dict[str, int]:
        """Delete crops of a collection, a bounded number, and tell how many are left; new ones are kept as before."""
        with self._database.transaction() as connection:
            collection = collections.find(connection, account_id, name)
        if collection is None:
            raise CollectionNotFound(name)
        number, total = collection.collection_id, 0
        for _ in range(_TRANSACTIONS):
            with self._database.transaction() as connection:
                deleted = face_crops.delete_some(connection, number, limit=_DELETED_AT_ONCE)
                audit.note(connection, Line(account_id, self._actor, Act.PURGE_CROPS, name, count=deleted))
            total += deleted
            if deleted < _DELETED_AT_ONCE:
                break
        with self._database.transaction() as connection:
            return {"Deleted": total, "Left": face_crops.count(connection, number)}
