"""Reprocesses as callers see them: begin, look, cancel, go back, keep the former version no longer.

Every change locks the collection's row first, then the reprocess, as do the workers (`app.services.reembedding`). An ending and
its event are one transaction.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import collections, dedicated_buckets, face_models
from app.db import reprocesses as rows
from app.db.session import Database, Row
from app.domain import pagination
from app.domain.audit import OK, OPERATOR, SYSTEM, Act, Actor, Line
from app.domain.jobs import Lane, iso
from app.domain.reprocesses import GRACE, Reprocess, Status, check_target, document
from app.domain.webhook_events import REPROCESSED
from app.errors import CollectionNotFound, Conflict, ReprocessNotFound
from app.services import audit, events

Document = dict[str, Any]

#: Bells that are rung when there is a reprocess to work on: as many threads wake. One too many finds nothing, and is forgotten.
BELLS = 8


class Reprocesses:
    """The reprocesses of all collections."""

    def __init__(self, database: Database, doorbell: Doorbell, actor: Actor = OPERATOR) -> None:
        self._database = database
        self._doorbell = doorbell
        self._actor = actor

    def start(self, account_id: int, name: str, version: str, on_failure: str) -> Document:
        """Begin to move a collection to another version; raises InvalidParameter or Conflict."""
        with self._database.transaction() as connection:
            collection = _lock(connection, account_id, name)
            known = face_models.find(connection, version) is not None
            check_target(version, collection.model, known=known)
            values = {
                "account_id": account_id,
                "collection_id": collection.collection_id,
                "collection_name": name,
                "from_model": collection.model,
                "to_model": version,
                "on_failure": on_failure,
                "total": collection.live_faces,
            }
            reprocess = rows.insert(connection, values)
            if reprocess is None:
                raise Conflict(f"The collection id: {name} still keeps a second face model version. {_ADVICE}")
            collections.set_versions(
                connection, collection.collection_id, model=collection.model, other=version, indexes_other=True
            )
            dedicated_buckets.follow(connection, collection, face_models.get(connection, version))
            self._note(connection, account_id, name, Act.START_REPROCESS)
        self._doorbell.ring(Lane.BULK, BELLS)
        return document(reprocess)

    def get(self, account_id: int, name: str) -> Document:
        """Show the newest reprocess of a collection; raises ReprocessNotFound."""
        with self._database.transaction() as connection:
            return document(_newest(connection, _find(connection, account_id, name), name))

    def failures(self, account_id: int, name: str, *, token: str | None, size: int) -> Document:
        """List a page of the faces that stayed behind in the newest reprocess."""
        with self._database.transaction() as connection:
            reprocess = _newest(connection, _find(connection, account_id, name), name)
            kind = f"failures of {reprocess.reprocess_id}"
            after = pagination.read_number(token, kind)
            found = rows.list_failures(connection, reprocess.reprocess_id, after=after, limit=size + 1)
        page = found[:size]
        next_token = {"NextToken": pagination.token(kind, str(page[-1].face_no))} if len(found) > size else {}
        return {"Failures": [_failure(row) for row in page], **next_token}

    def cancel(self, account_id: int, name: str) -> Document:
        """Give a running reprocess up; the collection stays as it was. One that has ended is shown as it is."""
        with self._database.transaction() as connection:
            collection, reprocess = _lock_newest(connection, account_id, name)
            told = 0
            if reprocess.status is Status.IN_PROGRESS:
                reprocess, told = end(connection, collection, reprocess, Status.CANCELED, keep=timedelta())
                self._note(connection, account_id, name, Act.CANCEL_REPROCESS)
        self.announce(told)
        return document(reprocess)

    def rollback(self, account_id: int, name: str) -> Document:
        """Have a collection searched with its former version again; raises Conflict where that is not there any more."""
        with self._database.transaction() as connection:
            collection, reprocess = _lock_newest(connection, account_id, name)
            if not reprocess.can_roll_back:
                raise Conflict(f"The collection id: {name} keeps no former face model version")
            collections.set_versions(
                connection,
                collection.collection_id,
                model=reprocess.from_model,
                other=reprocess.to_model,
                indexes_other=False,
            )
            reprocess = rows.change(
                connection,
                reprocess.reprocess_id,
                status=Status.ROLLED_BACK,
                rolled_back_at=rows.NOW,
                keep=GRACE,
            )
            self._note(connection, account_id, name, Act.ROLL_BACK_REPROCESS)
        return document(reprocess)

    def finish(self, account_id: int, name: str) -> Document:
        """Keep the former version no longer; raises Conflict where there is none."""
        with self._database.transaction() as connection:
            _, reprocess = _lock_newest(connection, account_id, name)
            if not reprocess.can_roll_back:
                raise Conflict(f"The collection id: {name} keeps no former face model version")
            reprocess = rows.change(connection, reprocess.reprocess_id, keep=GRACE)
            self._note(connection, account_id, name, Act.FINISH_REPROCESS)
        return document(reprocess)

    def _note(self, connection: Connection, account_id: int, name: str, act: Act) -> None:
        audit.note(connection, Line(account_id, self._actor, act, name))

    def announce(self, told: int) -> None:
        """Ring for the webhooks of an ending, once it is committed."""
        if told:
            self._doorbell.ring(Lane.WEBHOOKS, told)


_ADVICE = "Wait for its reprocess and cleaning to end, or keep the former version no longer: POST .../reprocess/finish"


def end(
    connection: Connection, collection: Row, reprocess: Reprocess, status: Status, *, keep: timedelta, **values: Any
) -> tuple[Reprocess, int]:
    """End a locked reprocess: switch the collection, or leave it as it was. Gives how many receivers are told."""
    switches = status is Status.SUCCEEDED
    model, other = reprocess.from_model, reprocess.to_model
    collections.set_versions(
        connection,
        collection.collection_id,
        model=other if switches else model,
        other=model if switches else other,
        indexes_other=switches,  # so that going back loses no face
    )
    ended = rows.finished(connection, reprocess.reprocess_id, status, keep=keep, **values)
    result = OK if switches else status.value
    audit.note(connection, Line(ended.account_id, SYSTEM, Act.END_REPROCESS, collection.name, result=result))
    return ended, events.report(connection, ended.account_id, REPROCESSED, document(ended))


def _find(connection: Connection, account_id: int, name: str) -> Row:
    collection = collections.find(connection, account_id, name)
    if collection is None:
        raise CollectionNotFound(name)
    return collection


def _lock(connection: Connection, account_id: int, name: str) -> Row:
    collection = collections.lock(connection, _find(connection, account_id, name).collection_id)
    if collection is None:  # deleted between the two looks
        raise CollectionNotFound(name)
    return collection


def _newest(connection: Connection, collection: Row, name: str, *, locked: bool = False) -> Reprocess:
    reprocess = rows.newest(connection, collection.collection_id, locked=locked)
    if reprocess is None:
        raise ReprocessNotFound(name)
    return reprocess


def _lock_newest(connection: Connection, account_id: int, name: str) -> tuple[Row, Reprocess]:
    collection = _lock(connection, account_id, name)
    return collection, _newest(connection, collection, name, locked=True)


def _failure(row: Row) -> Document:
    return {
        "FaceId": str(row.face_id),
        "Reason": row.reason,
        "Message": row.message,
        "FailedAt": iso(row.failed_at),
    }
