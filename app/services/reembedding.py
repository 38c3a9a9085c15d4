"""The workers' part of a reprocess: take a page of faces, store what came of it, then switch (`app.services.switching`).

Each step is one transaction and begins with what the last one left, so a worker may die anywhere. What a worker stores is
fenced by the lease of its page, and by the collection's row lock it meets only faces that are still there.
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import collections, face_crops, face_models, second_versions
from app.db import reprocess_pages as pages
from app.db import reprocesses as rows
from app.db.session import Database, Row
from app.domain.face_models import FaceModelVersion
from app.domain.jobs import Company, Lane
from app.domain.reprocesses import MAX_CRASHES, PAGE_FACES, SOURCE_PAUSES, Failure, Reprocess, Status
from app.failpoints import failpoint
from app.services import reprocesses, switching
from app.services.reprocesses import BELLS

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
    cut_short: bool = False  # the process was asked to stop, or wanted by one alone, before it had seen all faces


class Reembedding:
    """Hands out the work of all reprocesses and stores it."""

    def __init__(self, database: Database, doorbell: Doorbell, *, rollback_window: timedelta) -> None:
        self._database = database
        self._reprocesses = reprocesses.Reprocesses(database, doorbell)
        self._doorbell = doorbell
        self._window = rollback_window

    def take(self, company: Company = Company.BESIDE) -> Page | Reprocess | Company | None:
        """Take the next page of the reprocess that was served the longest ago, or that reprocess where it has none left.

        One whose pages are all in the hands of other workers, or pause, holds up no other. Where those that are left run in
        another company, that is given. None: there is nothing to do now.
        """
        seen: set[uuid.UUID] = set()
        while len(seen) < _LOOKS:
            with self._database.transaction() as connection:
                reprocess_id = rows.next_open(connection, but=seen)
                if reprocess_id is None:
                    return None
                work = _work_of(connection, reprocess_id, company)
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
        """Give a page back whose model is not on this machine; where it is on none for long, the reprocess has failed."""
        told = 0
        with self._database.transaction() as connection:
            found = _lock(connection, page)
            if found is None:
                return
            collection, reprocess = found
            error = _no_model(reprocess)
            if reprocess.is_stuck:
                _, told = reprocesses.end(
                    connection, collection, reprocess, Status.FAILED, keep=timedelta(), error=error
                )
            else:
                since = reprocess.stalled_at or rows.NOW
                rows.change(connection, reprocess.reprocess_id, stalled_at=since, error=error | {"Retryable": True})
                pages.put_back(connection, page.lease, pause=SOURCE_PAUSES[0])
        self._reprocesses.announce(told)

    def store(self, page: Page, outcome: Outcome) -> bool:
        """Store what came of a page; False where its lease was lost, or the reprocess has ended."""
        told = 0
        with self._database.transaction() as connection:
            found = _lock(connection, page)
            if found is None:
                return False
            collection, reprocess = found
            if reprocess.stalled_at is not None:
                rows.change(connection, reprocess.reprocess_id, stalled_at=None, error=None)
            failures = _store(connection, collection, page, outcome)
            failpoint("before_page_commit")
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
                switching.clean(connection, collection, present)
            elif not switching.embed_users(connection, collection, present) and not pages.any_left(connection, present):
                told = switching.switch(connection, collection, present, window=self._window)
        self._reprocesses.announce(told)

    def ring_again(self) -> None:
        """Ring for reprocesses that nobody works on."""
        with self._database.transaction() as connection:
            unserved = rows.unserved(connection, silence=_RING_AGAIN)
        if unserved:
            self._doorbell.ring(Lane.BULK, BELLS)


def _work_of(connection: Connection, reprocess_id: uuid.UUID, company: Company) -> Page | Reprocess | Company | None:
    reprocess = rows.lock(connection, reprocess_id)
    if reprocess is None or reprocess.status is not Status.IN_PROGRESS:
        return reprocess if company is Company.BESIDE else None
    lease = pages.reclaim(connection, reprocess_id, company)
    if lease is None:
        if company is Company.ALONE:
            return None
        lease = pages.cut(connection, reprocess, size=PAGE_FACES)
        if lease is None:
            return _rest_of(connection, reprocess)
        rows.change(connection, reprocess_id, face_cursor=lease.last_no)
    return _page(connection, reprocess, lease)


def _rest_of(connection: Connection, reprocess: Reprocess) -> Reprocess | Company | None:
    if pages.any_overdue(connection, reprocess.reprocess_id, Company.ALONE):
        return Company.ALONE
    return None if pages.any_left(connection, reprocess) else reprocess


def _page(connection: Connection, reprocess: Reprocess, lease: Row) -> Page:
    left = pages.faces_of(connection, reprocess, lease)
    # A worker died of this page: whoever is next goes face by face, so that only the culprit is given up.
    now = left[:1] if lease.crashes else left
    crops = face_crops.find_many(connection, reprocess.collection_id, [face.face_no for face in now])
    version, former = (face_models.get(connection, name) for name in (reprocess.to_model, reprocess.from_model))
    return Page(reprocess, version, former, lease, now, crops, whole=len(now) == len(left))


def _lock(connection: Connection, page: Page) -> tuple[Row, Reprocess] | None:
    """Lock what belongs to a page; None where its lease was lost, or the reprocess has ended."""
    collection = collections.lock(connection, page.reprocess.collection_id)
    reprocess = rows.lock(connection, page.reprocess.reprocess_id)
    if collection is None or reprocess is None or reprocess.status is not Status.IN_PROGRESS:
        return None
    return (collection, reprocess) if pages.lock(connection, page.lease) else None


def _no_model(reprocess: Reprocess) -> dict[str, Any]:
    message = f"No worker has the model of face model version {reprocess.to_model}; `rekollect doctor` names its file."
    return {"Code": "MODEL_MISSING", "Message": message, "Retryable": False}


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
