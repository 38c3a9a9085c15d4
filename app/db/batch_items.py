"""Queries on the items of batches: in, claimed, ended, read. Many rows a statement: no query here is for one item.

An ending gives an item the next number of its batch; numbers have no gaps and follow the order of the commits, so whoever has
read up to one has missed nothing.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.engine import Connection

from app.db.schema import batch_items
from app.db.session import Row
from app.domain.batches import Chunk, Item, NewItem
from app.domain.jobs import Company

_now = sa.func.now()
_QUEUED = batch_items.c.status == "QUEUED"


def insert(connection: Connection, batch_id: str, items: Sequence[NewItem]) -> set[int]:
    """Queue items and give the numbers of those that were written: not those whose CustomId the batch has already."""
    new = (
        sa.func.unnest(
            sa.literal([item.item_no for item in items], ARRAY(sa.BigInteger)),
            sa.literal([item.custom_id for item in items], ARRAY(sa.Text)),
            sa.literal([item.input for item in items], ARRAY(JSONB)),
        )
        .table_valued("item_no", "custom_id", "input")
        .render_derived("new")
    )
    rows = sa.select(sa.literal(uuid.UUID(batch_id), sa.Uuid), new.c.item_no, new.c.custom_id, new.c.input)
    statement = (
        postgresql.insert(batch_items)
        .from_select(["batch_id", "item_no", "custom_id", "input"], rows)
        .on_conflict_do_nothing(constraint="uq_batch_items_batch_id_custom_id")
        .returning(batch_items.c.item_no)
    )
    return set(connection.execute(statement).scalars())


#: Batches take turns, and so do accounts: who was served the longest ago comes first. An item whose worker died runs alone, and
#: after the others, because it may be what killed it; the answer says so where only such ones are left.
_CLAIM = sa.text("""
    WITH turn AS (
        SELECT batch_id, account_id, operation, region, actor, defaults FROM (
            SELECT *, max(served_at) OVER (PARTITION BY account_id) AS account_served_at FROM batches
            WHERE status IN ('EXPANDING', 'IN_PROGRESS') AND paused_at IS NULL AND stopped_at IS NULL
        ) AS open
        WHERE EXISTS (
            SELECT FROM batch_items WHERE batch_id = open.batch_id AND status = 'QUEUED' AND available_at <= now())
        ORDER BY account_served_at NULLS FIRST, account_id, served_at NULLS FIRST, batch_id LIMIT 1
    ), several AS (
        SELECT batch_id, item_no FROM batch_items
        WHERE batch_id = (SELECT batch_id FROM turn) AND status = 'QUEUED' AND available_at <= now() AND crashes = 0
            AND NOT :alone
        ORDER BY item_no LIMIT :most FOR UPDATE SKIP LOCKED
    ), alone AS (
        SELECT batch_id, item_no FROM batch_items
        WHERE batch_id = (SELECT batch_id FROM turn) AND status = 'QUEUED' AND available_at <= now() AND crashes > 0
            AND NOT EXISTS (SELECT FROM several)
        ORDER BY item_no LIMIT 1 FOR UPDATE SKIP LOCKED
    ), taken AS (
        SELECT * FROM several UNION ALL SELECT * FROM alone WHERE :alone
    ), leased AS (
        INSERT INTO batch_leases (batch_id, item_numbers, worker)
        SELECT batch_id, array_agg(item_no), :worker FROM taken GROUP BY batch_id RETURNING lease
    ), claimed AS (
        UPDATE batch_items SET status = 'IN_PROGRESS', lease = (SELECT lease FROM leased), attempt = attempt + 1
        FROM taken WHERE batch_items.batch_id = taken.batch_id AND batch_items.item_no = taken.item_no
        RETURNING batch_items.item_no, attempt, crashes, input
    ), number AS (
        SELECT (SELECT batch_id FROM turn) AS batch_id, count(*) AS items FROM claimed HAVING count(*) > 0
    ), counted AS (
        UPDATE batches SET running = running + number.items, served_at = now(),
            started_at = coalesce(started_at, now()), measured_at = coalesce(measured_at, now())
        FROM number WHERE batches.batch_id = number.batch_id
    )
    SELECT turn.*, (SELECT lease FROM leased) AS lease, claimed.item_no, attempt, crashes, input,
        EXISTS (SELECT FROM alone) AS some_alone
    FROM turn LEFT JOIN claimed ON true ORDER BY claimed.item_no""")


def claim(connection: Connection, company: Company, *, most: int, worker: str) -> Chunk | Company | None:
    """Take queued items of the batch whose turn it is; two callers never get the same one. None where nothing is queued.

    Where those that are left run in another company, give that.
    """
    parameters = {"alone": company is Company.ALONE, "most": most, "worker": worker}
    rows = connection.execute(_CLAIM, parameters).all()
    if not rows:
        return None
    first = rows[0]
    if first.item_no is None:
        if company is Company.ALONE:
            return Company.BESIDE
        return Company.ALONE if first.some_alone else None
    items = tuple(Item(row.item_no, row.attempt, row.crashes, {**first.defaults, **row.input}) for row in rows)
    return Chunk(str(first.batch_id), first.lease, first.account_id, first.operation, first.region, first.actor, items)


def end(connection: Connection, batch_id: str, rows: Sequence[dict[str, Any]]) -> None:
    """Write how items ended; a row has item_no, ended_no, status, result and error."""
    columns: dict[str, Any] = {
        "item_no": sa.BigInteger,
        "ended_no": sa.BigInteger,
        "status": sa.Text,
        "result": JSONB(none_as_null=True),
        "error": JSONB(none_as_null=True),
    }
    arrays = [sa.literal([row[name] for row in rows], ARRAY(type_)) for name, type_ in columns.items()]
    ended = sa.func.unnest(*arrays).table_valued(*columns).render_derived("ended")
    connection.execute(
        sa.update(batch_items)
        .where(batch_items.c.batch_id == uuid.UUID(batch_id), batch_items.c.item_no == ended.c.item_no)
        .values(
            ended_no=ended.c.ended_no,
            status=ended.c.status,
            result=ended.c.result,
            error=ended.c.error,
            finished_at=_now,
        )
    )


def requeue(
    connection: Connection, batch_id: str, item_numbers: Sequence[int], *, pause: timedelta, crashed: bool
) -> None:
    """Queue running items again; a crash counts towards the poison limit."""
    if not item_numbers:
        return
    values: dict[str, Any] = {"status": "QUEUED", "available_at": _now + pause}
    if crashed:
        values["crashes"] = batch_items.c.crashes + 1
    connection.execute(sa.update(batch_items).where(_among(batch_id, item_numbers)).values(**values))


def pardon(connection: Connection, batch_id: str, lease: int, item_numbers: Sequence[int]) -> None:
    """Take back a crash of items that were last run under a lease and wait to be run again."""
    connection.execute(
        sa.update(batch_items)
        .where(_among(batch_id, item_numbers), batch_items.c.lease == lease, _QUEUED, batch_items.c.crashes > 0)
        .values(crashes=batch_items.c.crashes - 1)
    )


def give_back(connection: Connection, batch_id: str, item_numbers: Sequence[int]) -> None:
    """Queue items again that were claimed and not begun: that was no attempt."""
    connection.execute(
        sa.update(batch_items)
        .where(_among(batch_id, item_numbers))
        .values(status="QUEUED", attempt=batch_items.c.attempt - 1)
    )


def list_running(connection: Connection, batch_id: str, lease: int, item_numbers: Sequence[int]) -> list[Row]:
    """List items that still run under a lease: item_no, crashes."""
    statement = sa.select(batch_items.c.item_no, batch_items.c.crashes).where(
        _among(batch_id, item_numbers), batch_items.c.lease == lease, batch_items.c.status == "IN_PROGRESS"
    )
    return list(connection.execute(statement))


def lock_queued(connection: Connection, batch_id: str, *, limit: int) -> list[int]:
    """Lock queued items of a batch that nobody else is about to take."""
    statement = (
        sa.select(batch_items.c.item_no)
        .where(batch_items.c.batch_id == uuid.UUID(batch_id), _QUEUED)
        .order_by(batch_items.c.item_no)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(statement).scalars())


def cancel(connection: Connection, batch_id: str, item_numbers: Sequence[int], *, first_ended_no: int) -> None:
    """End locked items that never ran; they get numbers from a first one on."""
    rows = [
        {"item_no": number, "ended_no": first_ended_no + index, "status": "CANCELED", "result": None, "error": None}
        for index, number in enumerate(item_numbers)
    ]
    end(connection, batch_id, rows)


def read_ended(connection: Connection, batch_id: str, *, after: int, until: int, failed: bool, limit: int) -> list[Row]:
    """List items in the order of their endings, those whose number is above one and not above another; all or the failed."""
    columns = ("item_no", "custom_id", "status", "result", "error", "attempt", "ended_no")
    statement = (
        sa.select(*(batch_items.c[name] for name in columns))
        .where(
            batch_items.c.batch_id == uuid.UUID(batch_id),
            batch_items.c.ended_no > after,
            batch_items.c.ended_no <= until,
        )
        .order_by(batch_items.c.ended_no)
        .limit(limit)
    )
    if failed:
        statement = statement.where(batch_items.c.status == "FAILED")
    return list(connection.execute(statement))


def nth_failed(connection: Connection, batch_id: str, *, after: int, count: int) -> int | None:
    """Give the number of the failed item that is so many after one; None where there are fewer."""
    statement = (
        sa.select(batch_items.c.ended_no)
        .where(
            batch_items.c.batch_id == uuid.UUID(batch_id),
            batch_items.c.status == "FAILED",
            batch_items.c.ended_no > after,
        )
        .order_by(batch_items.c.ended_no)
        .offset(count - 1)
        .limit(1)
    )
    return connection.execute(statement).scalar_one_or_none()


def read_failed_inputs(connection: Connection, batch_id: str, *, after: int, limit: int) -> list[Row]:
    """List failed items with what they were asked to do and what failed, in the order of their endings, after one."""
    columns = ("ended_no", "custom_id", "input", "attempt", "error")
    statement = (
        sa.select(*(batch_items.c[name] for name in columns))
        .where(
            batch_items.c.batch_id == uuid.UUID(batch_id),
            batch_items.c.status == "FAILED",
            batch_items.c.ended_no > after,
        )
        .order_by(batch_items.c.ended_no)
        .limit(limit)
    )
    return list(connection.execute(statement))


def _among(batch_id: str, item_numbers: Sequence[int]) -> sa.ColumnElement[bool]:
    return sa.and_(
        batch_items.c.batch_id == uuid.UUID(batch_id),
        batch_items.c.item_no == sa.any_(sa.literal(list(item_numbers), ARRAY(sa.BigInteger))),
    )
