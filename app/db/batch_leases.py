"""Queries on the leases of batches: who holds one is alive, and whoever has lost one writes nothing.

A lease is a row that lives as long as the work under it. Times are Postgres's now().
"""

from collections.abc import Sequence
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import batch_leases, batches
from app.db.session import Row
from app.domain.batches import DONE

_now = sa.func.now()


#: Listing has turns of its own, as items have: accounts, then the batches of one. Who had one the longest ago comes first.
_TAKE_EXPANSION = sa.text("""
    WITH turn AS (
        SELECT batch_id, (
            SELECT max(listed_at) FROM batches AS own
            WHERE own.account_id = batches.account_id AND own.status IN ('EXPANDING', 'IN_PROGRESS')
        ) AS account_listed_at FROM batches
        WHERE status = 'EXPANDING' AND paused_at IS NULL AND stopped_at IS NULL
            AND coalesce(listable_at, '-infinity') <= now() AND NOT EXISTS (
            SELECT FROM batch_leases WHERE batch_leases.batch_id = batches.batch_id AND item_numbers IS NULL)
        ORDER BY account_listed_at NULLS FIRST, account_id, listed_at NULLS FIRST, batch_id LIMIT 1
    ), leased AS (
        INSERT INTO batch_leases (batch_id, worker) SELECT batch_id, :worker FROM turn
        ON CONFLICT (batch_id) WHERE item_numbers IS NULL DO NOTHING RETURNING lease, batch_id
    ), counted AS (
        UPDATE batches SET listed_at = now() WHERE batch_id IN (SELECT batch_id FROM leased)
    )
    SELECT lease, batch_id FROM leased""")


def take_expansion(connection: Connection, *, worker: str) -> Row | None:
    """Lease the source of the batch whose turn it is, for whoever reads it on: lease, batch_id. None where nobody is needed."""
    return connection.execute(_TAKE_EXPANSION, {"worker": worker}).one_or_none()


def lock(connection: Connection, lease: int) -> bool:
    """Keep a lease from being taken away until the transaction ends; False where it was lost."""
    statement = sa.select(batch_leases.c.lease).where(batch_leases.c.lease == lease).with_for_update()
    return connection.execute(statement).one_or_none() is not None


def release(connection: Connection, lease: int) -> None:
    """Give a lease up: nothing runs under it any more."""
    connection.execute(sa.delete(batch_leases).where(batch_leases.c.lease == lease))


def renew(connection: Connection, leases: Sequence[int]) -> set[int]:
    """Show that who holds these is alive; give those whose batch was paused or stopped, and those that were lost."""
    # One that is being finished is locked, and needs no renewal: waiting for it would starve the others.
    free = sa.select(batch_leases.c.lease).where(batch_leases.c.lease.in_(leases)).with_for_update(skip_locked=True)
    connection.execute(sa.update(batch_leases).where(batch_leases.c.lease.in_(once(free))).values(heartbeat_at=_now))
    goes_on = (
        sa.select(batch_leases.c.lease)
        .join(batches, batches.c.batch_id == batch_leases.c.batch_id)
        .where(
            batch_leases.c.lease.in_(leases),
            batches.c.paused_at.is_(None),
            batches.c.stopped_at.is_(None),
            batches.c.status.not_in(DONE),
        )
    )
    return set(leases) - set(connection.execute(goes_on).scalars())


def lock_stale(connection: Connection, *, silence: timedelta, limit: int) -> list[Row]:
    """Lock leases whose worker fell silent: lease, batch_id, item_numbers."""
    statement = (
        sa.select(batch_leases.c.lease, batch_leases.c.batch_id, batch_leases.c.item_numbers)
        .where(batch_leases.c.heartbeat_at < _now - silence)
        .order_by(batch_leases.c.lease)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(connection.execute(statement))
