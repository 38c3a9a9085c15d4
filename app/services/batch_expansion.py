"""List a batch's items from its source, a page at a time, each page in one transaction with how far the source was read.

Whoever lists holds a lease, so that one worker at a time does; another goes on from the last page where that one died. Nobody
can be asked about a wrong line any more: it becomes an item that failed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.engine import Connection

from app.db import batch_items as items
from app.db import batch_leases as leases
from app.db import batches as rows
from app.db.session import Database, Row
from app.domain.batches import MAX_ITEMS, PAGE, Batch, NewItem
from app.errors import BatchNotFound, InvalidParameter, ServiceError
from app.services.batch_intake import refused
from app.services.batch_outcomes import BatchOutcomes, final


@dataclass(frozen=True, slots=True)
class Listing:
    """The right to read a batch's source on, from the cursor of the batch."""

    batch: Batch
    lease: int

    @property
    def key(self) -> tuple[str, int]:
        """What tells it from every other lease."""
        return self.batch.batch_id, self.lease


@dataclass(frozen=True, slots=True)
class Page:
    """Some items of a source, where to read on, and whether that was all."""

    items: Sequence[NewItem]
    cursor: dict[str, Any]
    complete: bool


class Expansion:
    """Takes a batch that is to be listed, writes its pages, gives it up."""

    def __init__(self, database: Database, outcomes: BatchOutcomes) -> None:
        self._database = database
        self._outcomes = outcomes

    def take(self, *, worker: str) -> Listing | None:
        """Lease the source of a batch; None where there is none to list."""
        with self._database.transaction() as connection:
            taken = leases.take_expansion(connection, worker=worker)
            batch = None if taken is None else rows.lock(connection, str(taken.batch_id))
        return None if taken is None or batch is None else Listing(batch, taken.lease)

    def add(self, listing: Listing, page: Page) -> Listing | None:
        """Queue a page; None where this worker is not to go on: all is listed, the batch was halted, the lease is lost."""
        with self._database.transaction() as connection:
            if not leases.lock(connection, listing.lease):
                return None
            batch = rows.extend(
                connection, listing.batch.batch_id, added=len(page.items), cursor=page.cursor, complete=page.complete
            )
            if batch is None:
                return None
            wrong = _insert(connection, batch.batch_id, page.items)
            finals = [final(item.item_no, error=item.error) for item in wrong]
            batch, closed = self._outcomes.end_items(connection, batch.batch_id, finals, stopped=0)
        self._outcomes.announce(closed)
        if batch.total > MAX_ITEMS:
            self._outcomes.fail(batch.batch_id, InvalidParameter(f"A batch has at most {MAX_ITEMS} items."))
            return None
        return None if page.complete or batch.halted else Listing(batch, listing.lease)

    def postpone(self, listing: Listing, *, tries: int, pause: timedelta) -> None:
        """Give the lease up for a while: the source could not be read this often. Nothing changes where the lease was lost."""
        with self._database.transaction() as connection:
            if leases.lock(connection, listing.lease):
                cursor = {**(listing.batch.cursor or {}), "Tries": tries}
                rows.postpone(connection, listing.batch.batch_id, cursor=cursor, pause=pause)
                leases.release(connection, listing.lease)

    def release(self, listing: Listing) -> None:
        """Give the lease up, so that whoever comes next may go on at once."""
        with self._database.transaction() as connection:
            leases.release(connection, listing.lease)

    def fail(self, listing: Listing, error: ServiceError) -> None:
        """End a batch whose source cannot be read."""
        self._outcomes.fail(listing.batch.batch_id, error)

    def failed_items(self, listing: Listing) -> Page:
        """Give the next page of a source that is what failed of another batch; raise BatchNotFound where that is gone."""
        source = listing.batch.source["FailedItemsOf"]
        cursor = listing.batch.cursor or {"After": 0}
        with self._database.statement() as connection:
            found = items.read_failed_inputs(connection, source, after=cursor["After"], limit=PAGE)
            if not rows.exists(connection, source):  # a purge passes it over, unless it had begun before
                raise BatchNotFound(source)
        first = listing.batch.total + 1
        page = [_once_more(first + index, row) for index, row in enumerate(found)]
        after = found[-1].ended_no if found else cursor["After"]
        return Page(page, {"After": after}, complete=len(found) < PAGE)


def _once_more(item_no: int, failed: Row) -> NewItem:
    """Make an item of one that failed; one that was refused unread never ran, and is refused again in the same words."""
    return NewItem(item_no, failed.custom_id, failed.input, None if failed.attempt else failed.error)


def _insert(connection: Connection, batch_id: str, page: Sequence[NewItem]) -> list[NewItem]:
    """Queue items; give those that are wrong, among them those whose CustomId the batch has already."""
    if not page:
        return []
    written = items.insert(connection, batch_id, page)
    repeated = [
        refused(item.item_no, f"The CustomId {item.custom_id} is used twice.", input_=item.input)
        for item in page
        if item.item_no not in written
    ]
    if repeated:
        items.insert(connection, batch_id, repeated)
    return [*(item for item in page if item.error is not None), *repeated]
