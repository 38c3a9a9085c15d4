"""The workers' part of a reprocess: take a page of faces, store what came of it, then make users' vectors, switch, clean up.

Each step is one transaction and begins with what the last one left, so a worker may die anywhere. What a worker stores is
fenced by the lease of its page, and by the collection's row lock it meets only faces that are still there.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import collections, face_crops, face_models, second_versions, users
from app.db import reprocess_pages as pages
from app.db import reprocesses as rows
from app.db.session import Database, Row
from app.domain.face_models import FaceModelVersion
from app.domain.jobs import Lane
from app.domain.reprocesses import MAX_CRASHES, PAGE_FACES, SOURCE_PAUSES, Failure, Reprocess, Status
from app.services import reprocesses
from app.services.reprocesses import BELLS
from app.services.users import remake_vector

_USERS_AT_ONCE = 50
_CLEANED_AT_ONCE = 500

#: Reprocesses that one call looks at: with more, those that it saw come last in the next one.
_LOOKS = 50

#: A reprocess that nobody did anything for in this long is rung for again: bells were lost, or their workers died.
_RING_AGAIN = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class Page:
    """Faces to embed, leased to one worker."""

    reprocess: Reprocess
    version: FaceModelVersion
    former: FaceModelVersion
    lease: Row
    faces: list[Row]
    crops: dict[int, bytes]
    whole: bool  # nothing of the page is left after these

    @property
    def key(self) -> tuple[str, int]:
        """What tells this lease from every other."""
        return f"{self.lease.reprocess_id}/{self.lease.after_no}", self.lease.lease


@dataclass(slots=True)
class Outcome:
    """What came of the faces of a page."""

    embedded: dict[int, bytes] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    postponed: list[Failure] = field(default_factory=list)  # failures that may pass
    cut_short: bool = False  # the process was asked to stop before it had seen all faces


class Reembedding:
    """Hands out the work of all reprocesses and stores it."""

    def __init__(self, database: Database, doorbell: Doorbell, *, rollback_window: timedelta) -> None:
        self._database = database
        self._reprocesses = reprocesses.Reprocesses(database, doorbell)
        self._doorbell = doorbell
        self._window = rollback_window

    def take(self) -> Page | Reprocess | None:
        """Take the next page of the reprocess that was served the longest ago, or that reprocess where it has none left.

        One whose pages are all in the hands of other workers, or pause, holds up no other. None: there is nothing to do now.
        """
        seen: set[uuid.UUID] = set()
        while len(seen) < _LOOKS:
            with self._database.transaction() as connection:
                reprocess_id = rows.next_open(connection, but=seen)
                if reprocess_id is None:
                    return None
                work = _work_of(connection, reprocess_id)
            if work is not None:
                return work
            seen.add(reprocess_id)
        return None

    def renew(self, held: Sequence[Page]) -> set[tuple[str, int]]:
        """Keep pages; give the keys of those that were lost."""
        return {page.key for page in held if not self._renew(page)}

    def _renew(self, page: Page) -> bool:
        with self._database.transaction() as connection:
            rows.serve(connection, page.reprocess.reprocess_id)
            return pages.renew(connection, page.lease)

    def release(self, page: Page) -> None:
        """Give a page back untouched."""
        with self._database.transaction() as connection:
            pages.put_back(connection, page.lease, pause=SOURCE_PAUSES[0])

    def store(self, page: Page, outcome: Outcome) -> bool:
        """Store what came of a page; False where its lease was lost, or the reprocess has ended."""
        told = 0
        with self._database.transaction() as connection:
            collection = collections.lock(connection, page.reprocess.collection_id)
            reprocess = rows.lock(connection, page.reprocess.reprocess_id)
            if collection is None or reprocess is None or reprocess.status is not Status.IN_PROGRESS:
                return False
            if not pages.lock(connection, page.lease):
                return False
            failures = _store(connection, collection, page, outcome)
            if failures and reprocess.on_failure == "abort":
                error = {"Code": failures[0].reason, "Message": failures[0].message, "Retryable": False}
                _, told = reprocesses.end(
                    connection, collection, reprocess, Status.FAILED, keep=timedelta(), error=error
                )
        self._reprocesses.announce(told)
        return True

    def advance(self, reprocess: Reprocess) -> None:
        """Do the next piece of what needs no pictures: users' vectors, the switch, the cleaning."""
        told = 0
        with self._database.transaction() as connection:
            collection = collections.lock(connection, reprocess.collection_id)
            present = rows.lock(connection, reprocess.reprocess_id)
            if collection is None or present is None:
                return
            if present.status is not Status.IN_PROGRESS:
                _clean(connection, collection, present)
            elif not _embed_users(connection, collection, present) and not pages.any_left(connection, present):
                told = _switch(connection, collection, present, window=self._window)
        self._reprocesses.announce(told)

    def ring_again(self) -> None:
        """Ring for reprocesses that nobody works on."""
        with self._database.transaction() as connection:
            unserved = rows.unserved(connection, silence=_RING_AGAIN)
        if unserved:
            self._doorbell.ring(Lane.BULK, BELLS)


def _work_of(connection: Connection, reprocess_id: uuid.UUID) -> Page | Reprocess | None:
    reprocess = rows.lock(connection, reprocess_id)
    if reprocess is None or reprocess.status is not Status.IN_PROGRESS:
        return reprocess
    lease = pages.reclaim(connection, reprocess_id)
    if lease is None:
        lease = pages.cut(connection, reprocess, size=PAGE_FACES)
        if lease is None:
            return None if pages.any_left(connection, reprocess) else reprocess
        rows.change(connection, reprocess_id, face_cursor=lease.last_no)
    return _page(connection, reprocess, lease)


def _page(connection: Connection, reprocess: Reprocess, lease: Row) -> Page:
    left = pages.faces_of(connection, reprocess, lease)
    # A worker died of this page: whoever is next goes face by face, so that only the culprit is given up.
    now = left[:1] if lease.crashes else left
    crops = face_crops.find_many(connection, reprocess.collection_id, [face.face_no for face in now])
    version, former = (face_models.get(connection, name) for name in (reprocess.to_model, reprocess.from_model))
    return Page(reprocess, version, former, lease, now, crops, whole=len(now) == len(left))


def is_poison(page: Page) -> bool:
    """Tell whether a page killed so many workers that its next face is given up unseen."""
    return bool(page.lease.crashes >= MAX_CRASHES)


def _store(connection: Connection, collection: Row, page: Page, outcome: Outcome) -> list[Failure]:
    """Store embeddings and failures, and say what becomes of the page; give the failures."""
    there = pages.still_there(connection, collection.collection_id, [face.face_no for face in page.faces])
    patience = page.lease.tries < len(SOURCE_PAUSES)
    given_up = [*outcome.failures, *([] if patience else outcome.postponed)]
    failures = [failure for failure in given_up if failure.face_no in there]
    embedded = [(number, embedding) for number, embedding in outcome.embedded.items() if number in there]
    second_versions.insert_faces(connection, collection, page.version, embedded)
    rows.insert_failures(connection, page.reprocess.reprocess_id, failures)
    rows.count(connection, page.reprocess.reprocess_id, done=len(embedded), failed=len(failures))
    if patience and outcome.postponed:
        pause = SOURCE_PAUSES[page.lease.tries]
        pages.put_back(connection, page.lease, pause=pause, tries=page.lease.tries + 1)
    elif outcome.cut_short:
        pages.put_back(connection, page.lease, pause=timedelta())
    elif not page.whole:
        pages.put_back(connection, page.lease, pause=timedelta(), crashes=1)
    else:
        pages.delete(connection, page.lease)
    return failures


def _embed_users(connection: Connection, collection: Row, reprocess: Reprocess) -> bool:
    """Make the vectors of the next users from their faces; False where all have theirs."""
    found = users.list_page(connection, collection.collection_id, after=reprocess.user_cursor, limit=_USERS_AT_ONCE)
    version = face_models.get(connection, reprocess.to_model)
    for user in found:
        remake_vector(connection, collection, user, version)
    if found:
        rows.change(connection, reprocess.reprocess_id, user_cursor=found[-1].user_no)
    return bool(found)


def _switch(connection: Connection, collection: Row, reprocess: Reprocess, *, window: timedelta) -> int:
    """Have the new version searched, unless it has none of the faces; give how many receivers are told."""
    if reprocess.is_fruitless:
        message = "None of the faces could be embedded, so nothing was changed; the failures say why."
        error = {"Code": "NOTHING_EMBEDDED", "Message": message, "Retryable": False}
        return reprocesses.end(connection, collection, reprocess, Status.FAILED, keep=timedelta(), error=error)[1]
    return reprocesses.end(connection, collection, reprocess, Status.SUCCEEDED, keep=window)[1]


def _clean(connection: Connection, collection: Row, reprocess: Reprocess) -> None:
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
