"""A re-sync's rules: what is to be done about an object that is listed, and what its job is called.

What was indexed of an object is deleted before its new content is indexed. An object whose job has not ended is left to the
next run: until then nobody knows which content that job will see.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

#: S3's own limit; what is longer elsewhere cannot be named in a request of IndexFaces.
MAX_KEY_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    etag: str
    modified_at: datetime


@dataclass(frozen=True, slots=True)
class Seen:
    """An object as it was seen before: `busy` while its job has not ended, `again` when that is to be tried again."""

    key: str
    etag: str
    collection_id: int
    job_id: uuid.UUID | None
    busy: bool
    again: bool


class Action(StrEnum):
    """What is done about a listed object."""

    NEW = "New"  #: index it
    CHANGED = "Changed"  #: delete its faces, index it
    RETRIED = "Retried"  #: index it: the last try failed for no fault of its own
    BUSY = "Busy"  #: leave it to the next run
    UNCHANGED = "Unchanged"  #: nothing


def decide(listed: Listed, seen: Seen | None, collection_id: int) -> Action:
    """Say what is to be done about an object, by what was seen of it for the collection."""
    if seen is None or seen.collection_id != collection_id:
        return Action.NEW
    if seen.etag != listed.etag:
        return Action.BUSY if seen.busy else Action.CHANGED
    return Action.RETRIED if seen.again else Action.UNCHANGED


def is_picture_name(key: str) -> bool:
    """Tell whether an object can be a picture that IndexFaces can be asked for; names that end in a slash are folders."""
    return not key.endswith("/") and 0 < len(key.encode()) <= MAX_KEY_BYTES


def idempotency_key(schedule_id: uuid.UUID, collection_id: int, listed: Listed) -> str:
    """Name the job that indexes this content of an object.

    With the time of its last change: content that was replaced and comes back is to be indexed once more.
    """
    parts = (str(collection_id), listed.key, listed.etag, listed.modified_at.isoformat())
    return f"resync:{schedule_id}:{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()}"
