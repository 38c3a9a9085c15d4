"""How items end and how batches do: the only code that moves either into a status that never changes.

Ending items is one transaction: what their operation stores, results, counts, lines of the audit log, and where they were the
last ones the end of the batch with its one event. Every ending by a worker is fenced by its lease; one whose lease was lost
changes nothing.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.broker import Doorbell
from app.db import batch_items as items
from app.db import batch_leases as leases
from app.db import batch_sweeps as sweeps
from app.db import batches as rows
from app.db.session import Database
from app.domain.audit import OPERATOR, Act, Actor
from app.domain.batches import PAGE, Batch, BatchStatus, Chunk, Item
from app.domain.jobs import LEASE, MAX_CRASHES, Lane
from app.errors import Conflict, GivenUp, ServiceError
from app.failpoints import failpoint
from app.services import audit, batch_audit, events, retries
from app.services.completion import complete_all
from app.services.outcomes import Complete

log = logging.getLogger(__name__)

#: Leases that one sweep takes away, stopped batches and broken uploads that it looks at; the next sweep is a second away.
_SWEEP_LIMIT = 100

#: Pages that a sweep cancels, and those that it deletes of one upload.
_PAGES_PER_SWEEP = 20

#: An upload of which nothing was heard for this long broke off.
_UPLOAD_SILENCE = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of one attempt: the writes that complete the item, or why it did not succeed."""

    item: Item
    outcome: Complete | ServiceError


class BatchOutcomes:
    """Ends items and batches. Holds what every ending needs: where to write, whom to ring, how long to keep."""

    def __init__(self, database: Database, doorbell: Doorbell, *, keep: timedelta) -> None:
        self._database = database
        self._doorbell = doorbell
        self._keep = keep

    def finish(self, chunk: Chunk, ended: Sequence[Ended], *, given_back: Sequence[Item], last: bool) -> Batch | None:
        """End items, queue others again as they were, give up the lease with the last; None where the lease was lost."""
        with self._database.transaction() as connection:
            if not leases.lock(connection, chunk.lease):
                return None
            finals, again = self._judge(connection, chunk, ended)
            for pause, numbers in again.items():
                items.requeue(connection, chunk.batch_id, numbers, pause=pause, crashed=False)
            items.give_back(connection, chunk.batch_id, [item.item_no for item in given_back])
            if last:
                leases.release(connection, chunk.lease)
            audit.note(connection, *batch_audit.of_items(chunk, finals))
            batch, closed = self.end_items(connection, chunk.batch_id, finals, stopped=len(ended) + len(given_back))
            failpoint("before_batch_commit")
        failpoint("after_batch_commit")
        self.announce(closed)
        return batch

    def _judge(
        self, connection: Connection, chunk: Chunk, ended: Sequence[Ended]
    ) -> tuple[list[dict[str, Any]], dict[timedelta, list[int]]]:
        """Run the completing writes; tell how items end for good, and which are tried again after which pause."""
        finals: list[dict[str, Any]] = []
        again: dict[timedelta, list[int]] = {}
        outcomes = complete_all(connection, chunk.operation, [one.outcome for one in ended])
        for one, outcome in zip(ended, outcomes, strict=True):
            if not isinstance(outcome, ServiceError):
                finals.append(final(one.item.item_no, result=outcome))
            elif pause := retries.pause(outcome, Lane.BULK, tries=_tries(one.item)):
                again.setdefault(pause, []).append(one.item.item_no)
            else:
                finals.append(final(one.item.item_no, error=_told(outcome)))
        return finals, again

    def end_items(
        self, connection: Connection, batch_id: str, finals: list[dict[str, Any]], *, stopped: int
    ) -> tuple[Batch, Batch | None]:
        """Count, number and write endings, and how many items run no more; give the batch, and again where this ended it."""
        succeeded = sum(one["status"] == "SUCCEEDED" for one in finals)
        failed = len(finals) - succeeded
        batch = rows.count(connection, batch_id, running=-stopped, succeeded=succeeded, failed=failed)
        first = batch.ended - len(finals) + 1
        if finals:
            numbered = [{**one, "ended_no": first + index} for index, one in enumerate(finals)]
            items.end(connection, batch_id, numbered)
        closed = self.close_if_over(connection, batch)
        return closed or batch, closed

    def close_if_over(self, connection: Connection, batch: Batch) -> Batch | None:
        """End a batch of which nothing is left to do, with its event; None where something is."""
        if batch.status is not BatchStatus.IN_PROGRESS or batch.ended < batch.total:
            return None
        status = BatchStatus.SUCCEEDED
        if batch.error is not None:
            status = BatchStatus.FAILED
        elif batch.stopped_at is not None and batch.lacks_some:
            status = BatchStatus.CANCELED
        closed = rows.close(connection, batch.batch_id, status, keep=self._keep)
        if closed is not None:
            events.publish_batch(connection, closed)
        return closed

    def cancel(self, account_id: int, batch_id: str, actor: Actor = OPERATOR) -> Batch | None:
        """Take a batch back: what has ended is kept, what runs ends first, the rest never runs. None: no such batch."""
        with self._database.transaction() as connection:
            found = rows.find(connection, account_id, batch_id)
            if found is None or found.done:
                return found
            if found.status is BatchStatus.UPLOADING:
                raise Conflict("The items of the batch are still being uploaded: break that off.")
            batch = rows.stop(connection, batch_id) or found
            audit.note(connection, batch_audit.of_batch(found, actor, Act.CANCEL_BATCH))
        return self.cancel_rest(batch_id) or batch

    def cancel_rest(self, batch_id: str) -> Batch | None:
        """Cancel a page of what a stopped batch has not begun, and end it where that was the last; None: not stopped."""
        with self._database.transaction() as connection:
            queued = items.lock_queued(connection, batch_id, limit=PAGE)
            batch = rows.lock(connection, batch_id)
            if batch is None or batch.done or batch.stopped_at is None:
                return batch
            if queued:
                batch = rows.count(connection, batch_id, canceled=len(queued))
                items.cancel(connection, batch_id, queued, first_ended_no=batch.ended - len(queued) + 1)
            closed = self.close_if_over(connection, batch)
        self.announce(closed)
        return closed or batch

    def fail(self, batch_id: str, error: ServiceError) -> None:
        """End a batch whose items cannot be read to the end; what has ended is kept."""
        with self._database.transaction() as connection:
            rows.stop(connection, batch_id, error=_told(error))
        self.cancel_rest(batch_id)

    def rescue(self) -> int:
        """Take items from workers that died; an item that killed too many of them fails. Gives from how many."""
        rescued = 0
        while rescued < _SWEEP_LIMIT:
            with self._database.transaction() as connection:
                stale = leases.lock_stale(connection, silence=LEASE, limit=1)
                if not stale:
                    break
                closed = self._take_back(connection, str(stale[0].batch_id), stale[0].lease, stale[0].item_numbers)
            self.announce(closed)
            rescued += 1
        return rescued

    def pardon(self, chunk: Chunk) -> None:
        """Take back the crashes that were counted of a chunk whose worker lives, as far as its items run nowhere else yet."""
        with self._database.transaction() as connection:
            items.pardon(connection, chunk.batch_id, chunk.lease, [item.item_no for item in chunk.items])

    def tidy(self) -> None:
        """Cancel the rest of stopped batches and delete what is left of broken uploads, as far as a sweep may."""
        with self._database.statement() as connection:
            stopped = sweeps.list_stopped(connection, limit=_SWEEP_LIMIT)
            abandoned = sweeps.list_abandoned(connection, silence=_UPLOAD_SILENCE, limit=_SWEEP_LIMIT)
        for batch_id in abandoned:
            self.discard(batch_id, pages=_PAGES_PER_SWEEP)
        left = _PAGES_PER_SWEEP
        for batch_id in stopped:
            while left > 0 and self._cancels_more(batch_id):
                left -= 1

    def _cancels_more(self, batch_id: str) -> bool:
        batch = self.cancel_rest(batch_id)
        return batch is not None and not batch.done and batch.ended + batch.running < batch.total

    def discard(self, batch_id: str, *, pages: int = 1) -> None:
        """Delete pages of an upload that broke off or was refused; nobody was told of that batch. Sweeps delete the rest."""
        with self._database.statement() as connection:
            sweeps.abandon(connection, batch_id)
        for _ in range(pages):
            with self._database.transaction() as connection:
                batch = rows.lock(connection, batch_id)
                if batch is None or batch.status is not BatchStatus.UPLOADING:
                    return
                sweeps.delete(connection, batch_id, limit=PAGE)

    def _take_back(
        self, connection: Connection, batch_id: str, lease: int, item_numbers: Sequence[int] | None
    ) -> Batch | None:
        """Queue what a dead worker held; an item that killed too many of them fails."""
        running = items.list_running(connection, batch_id, lease, item_numbers or ())
        leases.release(connection, lease)
        poison = [row.item_no for row in running if row.crashes + 1 >= MAX_CRASHES]
        others = [row.item_no for row in running if row.crashes + 1 < MAX_CRASHES]
        items.requeue(connection, batch_id, others, pause=timedelta(), crashed=True)
        finals = [final(number, error=_told(GivenUp())) for number in poison]
        _, closed = self.end_items(connection, batch_id, finals, stopped=len(running))
        return closed

    def announce(self, closed: Batch | None) -> None:
        """Ring the couriers for the event of a batch that has just ended."""
        if closed is not None and events.has_receiver(closed):
            self._doorbell.ring(Lane.WEBHOOKS)


def _tries(item: Item) -> int:
    return item.attempt - item.crashes  # a crash has its own limit, and is no reason to give up sooner here


def final(item_no: int, *, result: dict[str, Any] | None = None, error: dict[str, Any] | None = None) -> dict[str, Any]:
    """Say how an item ends: with a result or with an error."""
    status = "SUCCEEDED" if error is None else "FAILED"
    return {"item_no": item_no, "status": status, "result": result, "error": error}


def _told(error: ServiceError) -> dict[str, Any]:
    told = retries.told(error)
    return {"Code": told.code, "Message": told.message, "Retryable": told.retryable}
