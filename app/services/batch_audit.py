"""Lines of the audit log about batches: what callers do with one, and what its items did, a line for those that ended together.

A line for each of ten million items would say nothing more; which ones are meant is in the line.
"""

from collections.abc import Sequence
from typing import Any

from app.db.session import Database
from app.domain.audit import OK, Act, Actor, Line, read_actor, touched
from app.domain.batches import Batch, Chunk
from app.services import audit


def of_batch(batch: Batch, actor: Actor, act: Act) -> Line:
    """Give the line of what somebody did with a batch."""
    return Line(batch.account_id, actor, act, batch.defaults.get("CollectionId"), {"BatchId": batch.batch_id})


def note_reading(database: Database, batch: Batch, actor: Actor) -> None:
    """Write down who was given results of a batch."""
    with database.statement() as connection:
        audit.note(connection, of_batch(batch, actor, Act.GET_BATCH_RESULTS))


def of_items(chunk: Chunk, finals: Sequence[dict[str, Any]]) -> list[Line]:
    """Give a line for each collection and each result of the items that end together."""
    collections = {item.item_no: item.input.get("CollectionId") for item in chunk.items}
    groups: dict[tuple[str | None, str], list[dict[str, Any]]] = {}
    for final in finals:
        result = OK if final["error"] is None else final["error"]["Code"]
        groups.setdefault((collections[final["item_no"]], result), []).append(final)
    return [_line(chunk, collection, result, group) for (collection, result), group in groups.items()]


def _line(chunk: Chunk, collection: str | None, result: str, group: Sequence[dict[str, Any]]) -> Line:
    items = ",".join(str(final["item_no"]) for final in group)
    resources = {"BatchId": chunk.batch_id, "Items": items}
    counts = [touched(chunk.operation, final["result"]) for final in group if final["result"] is not None]
    count = sum(count for count in counts if count is not None) if counts else None
    return Line(chunk.account_id, read_actor(chunk.actor), chunk.operation, collection, resources, result, count)
