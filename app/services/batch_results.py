"""Read what has ended of a batch, also while it runs, in the order of the endings and never more than a page in memory."""

from collections.abc import Iterator

from app.db import batch_items as items
from app.db.session import Database, Row
from app.domain.batches import PAGE, Batch


def readable_until(database: Database, batch: Batch, *, after: int, most: int, failed: bool) -> int:
    """Give the number of the ending up to which there is something to read now, `most` items of it at most."""
    if not failed:
        return max(after, min(batch.ended, after + most))
    with database.statement() as connection:
        last = items.nth_failed(connection, batch.batch_id, after=after, count=most)
    return max(after, batch.ended if last is None else last)


def read_ended(database: Database, batch: Batch, *, after: int, until: int, failed: bool) -> Iterator[Row]:
    """Give the items that ended after one number and up to another, in that order, a page in memory at a time."""
    while after < until:
        with database.statement() as connection:
            page = items.read_ended(connection, batch.batch_id, after=after, until=until, failed=failed, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].ended_no
