"""Re-sync: a collection follows the objects under a prefix of an S3 bucket.

Each page of the listing is one step: the jobs that index what is new or changed, the deletion of what was indexed of a changed
object, and what was seen, in one transaction. When all pages were seen, objects that none of them showed are gone, and their
faces go. The order of the listing does not matter.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, face_selection, synced_objects
from app.db import jobs as job_rows
from app.db.session import Database, Row
from app.db.ticks import TickClaim
from app.domain.audit import Actor, ActorKind
from app.domain.batches import legal_external_id
from app.domain.jobs import Lane, Priority
from app.domain.resync import Action, Listed, Seen, decide, idempotency_key, is_picture_name
from app.errors import CollectionNotFound
from app.services import face_removal, jobs
from app.services.jobs import Submission
from app.services.ticks import Progress

#: Objects that one step handles.
PAGE = 200

#: With this many jobs of the account queued a re-sync waits: it is in no hurry, and others want to submit too.
_MAX_QUEUED = 1000

_INDEXING = (Action.NEW, Action.CHANGED, Action.RETRIED)


def is_crowded(database: Database, held: TickClaim) -> bool:
    """Tell whether enough jobs of the account are queued for now."""
    with database.statement() as connection:
        return job_rows.load(connection, account(held), Lane.BULK.value, limit=_MAX_QUEUED).queued >= _MAX_QUEUED


def take_page(connection: Connection, held: TickClaim, listed: Sequence[Listed], next_token: str | None) -> Progress:
    """Take over a page of the listing; without a next token it was the last."""
    collection = _found(connection, held)
    pictures = {one.key: one for one in listed if is_picture_name(one.key)}
    known = synced_objects.find_many(connection, held.schedule_id, list(pictures))
    actions = {key: decide(one, known.get(key), collection.collection_id) for key, one in pictures.items()}
    deleted = _delete_faces(connection, held, collection, [key for key in actions if actions[key] is Action.CHANGED])
    indexed = [pictures[key] for key in actions if actions[key] in _INDEXING]
    synced_objects.keep(connection, [_index(connection, held, collection, one) for one in indexed])
    rest = [key for key in actions if actions[key] not in _INDEXING]
    synced_objects.touch(connection, held.schedule_id, rest, seen_at=held.due_at)
    counts = Counter(action.value for action in actions.values())
    counts.update({"Listed": len(listed), "Skipped": len(listed) - len(pictures), "FacesDeleted": deleted})
    return Progress({"Listed": True} if next_token is None else {"Token": next_token}, _added(held, counts))


def drop_page(connection: Connection, held: TickClaim) -> Progress:
    """Delete the faces of some objects that the listing did not show."""
    collection = _found(connection, held)
    gone = synced_objects.unseen(connection, held.schedule_id, since=held.due_at, limit=PAGE)
    busy = [seen for seen in gone if seen.busy and seen.collection_id == collection.collection_id]
    dropped = [seen for seen in gone if seen not in busy]
    deleted = _delete_faces(connection, held, collection, _keys_in(dropped, collection.collection_id))
    synced_objects.forget(connection, held.schedule_id, [seen.key for seen in dropped])
    # The next run finds them missing again.
    synced_objects.touch(connection, held.schedule_id, [seen.key for seen in busy], seen_at=held.due_at)
    counts = Counter({"Deleted": len(dropped), Action.BUSY.value: len(busy), "FacesDeleted": deleted})
    return Progress({"Listed": True} if len(gone) == PAGE else None, _added(held, counts))


def account(held: TickClaim) -> int:
    """Give the account whose collection is meant."""
    if held.account_id is None:
        raise ValueError("a schedule of faces belongs to an account")
    return held.account_id


def _found(connection: Connection, held: TickClaim) -> Row:
    collection = collections.find(connection, account(held), held.settings["CollectionId"])
    if collection is None:
        raise CollectionNotFound(held.settings["CollectionId"])
    return collection


def _keys_in(seen: Sequence[Seen], collection_id: int) -> list[str]:
    return [one.key for one in seen if one.collection_id == collection_id]


def _delete_faces(connection: Connection, held: TickClaim, collection: Row, keys: list[str]) -> int:
    if not keys:
        return 0
    collections.lock_for_writing(connection, account(held), collection.name)
    found = face_selection.of_objects(connection, collection.collection_id, held.settings["Bucket"], keys)
    return face_removal.remove(connection, account(held), collection.name, found, schedule_id=held.schedule_id)


def _index(connection: Connection, held: TickClaim, collection: Row, listed: Listed) -> dict[str, Any]:
    """Submit the job that indexes an object, and give the object as it is remembered."""
    submission = Submission(
        account_id=account(held),
        operation="IndexFaces",
        input={
            "CollectionId": collection.name,
            "Image": {"S3Object": {"Bucket": held.settings["Bucket"], "Name": listed.key}},
            "ExternalImageId": legal_external_id(listed.key),
        },
        idempotency_key=idempotency_key(held.schedule_id, collection.collection_id, listed),
        priority=Priority.LOW,
        actor=Actor(ActorKind.SCHEDULE, str(held.schedule_id)),
    )
    return {
        "schedule_id": held.schedule_id,
        "key": listed.key,
        "collection_id": collection.collection_id,
        "etag": listed.etag,
        "job_id": jobs.add(connection, submission),
        "seen_at": held.due_at,
    }


def _added(held: TickClaim, counts: Counter[str]) -> dict[str, int]:
    members = ("Listed", *(action.value for action in Action), "Skipped", "Deleted", "FacesDeleted")
    before = held.result or {}
    return {name: before.get(name, 0) + counts[name] for name in members}
