"""Which delivery is next: fair over receivers, so that a slow one never delays another.

Receivers are found one after the other in an index, however many deliveries each has; those that may not be sent anything now
are passed over. Only the row that is taken is ever locked.
"""

from typing import Any

import sqlalchemy as sa

from app.db.schema import deliveries, receivers, webhook_endpoints
from app.domain.receivers import FAILURES_TO_OPEN, MAX_CONCURRENCY

_now = sa.func.now()
_pending = deliveries.c.status == "PENDING"
_DUE = (
    _pending,
    deliveries.c.next_attempt_at <= _now,
    sa.func.coalesce(deliveries.c.leased_until <= _now, True),  # asked for again while it is under way
)


def next_due() -> sa.CTE:
    """Lock and give the deliveries that are due the longest, one for each receiver, up to `most`.

    Receivers that have the fewest under way come first. `probing` tells that a delivery tries a half open circuit.
    """
    ready = _ready_receivers().order_by("under_way", "next_attempt_at").cte("ready")
    first = (
        sa.select(deliveries.c.delivery_id, deliveries.c.trigger)
        .where(same_receiver(deliveries, ready), *_DUE)
        .order_by(deliveries.c.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .lateral("first")
    )
    # Rows come in the order of the ready receivers, and the limit stops once enough could be locked.
    chosen = sa.select(first, ready.c.account_id, ready.c.receiver, ready.c.probing)
    return chosen.select_from(ready.join(first, sa.true())).limit(sa.bindparam("most", type_=sa.Integer)).cte("due")


def _ready_receivers() -> sa.Select[*tuple[Any, ...]]:
    """Select the receivers to whom something may be sent now, and how much more than is under way."""
    heads = _heads()
    leased = deliveries.alias("leased")
    under_way = (
        sa.select(sa.func.count().label("under_way"))
        .where(
            leased.c.account_id == heads.c.account_id,
            leased.c.receiver == heads.c.receiver,
            leased.c.leased_until > _now,
        )
        .lateral("under_way")
    )
    concurrency = sa.func.coalesce(receivers.c.concurrency, MAX_CONCURRENCY)
    probing = sa.func.coalesce(receivers.c.failures >= FAILURES_TO_OPEN, False)
    return (
        sa.select(
            heads,
            under_way.c.under_way,
            probing.label("probing"),
            sa.case((probing, 1), else_=concurrency - under_way.c.under_way).label("free"),
        )
        .select_from(heads.join(under_way, sa.true()))
        .outerjoin(receivers, same_receiver(receivers, heads))
        .outerjoin(webhook_endpoints, webhook_endpoints.c.endpoint_id == heads.c.endpoint_id)
        .where(
            heads.c.next_attempt_at <= _now,
            sa.func.coalesce(webhook_endpoints.c.status, "ENABLED") == "ENABLED",
            sa.func.coalesce(receivers.c.open_until, _now) <= _now,
            under_way.c.under_way < concurrency,
        )
    )


def _heads() -> sa.CTE:
    """Walk from receiver to receiver, one probe of the index for each, to the earliest pending delivery of each."""
    columns = (deliveries.c.account_id, deliveries.c.receiver, deliveries.c.endpoint_id, deliveries.c.next_attempt_at)
    order = (deliveries.c.account_id, deliveries.c.receiver, deliveries.c.next_attempt_at)
    first = sa.select(*columns).where(_pending).order_by(*order).limit(1).subquery("first_head")
    heads = sa.select(first).cte("heads", recursive=True)
    beyond = sa.tuple_(deliveries.c.account_id, deliveries.c.receiver) > sa.tuple_(heads.c.account_id, heads.c.receiver)
    following = sa.select(*columns).where(_pending, beyond).order_by(*order).limit(1).lateral("following")
    return heads.union_all(sa.select(following).select_from(heads.join(following, sa.true())))


def takeable(limit: int) -> sa.Select[*tuple[Any, ...]]:
    """Select the deliveries that couriers could take now, up to a limit: none of an open circuit or a busy receiver."""
    ready = _ready_receivers().subquery("ready")
    due = (
        sa.select(deliveries.c.delivery_id)
        .where(same_receiver(deliveries, ready), *_DUE)
        .limit(ready.c.free)
        .lateral("due")
    )
    return sa.select(due.c.delivery_id).select_from(ready.join(due, sa.true())).limit(limit)


def same_receiver(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Match rows of one receiver."""
    return sa.and_(one.c.account_id == other.c.account_id, one.c.receiver == other.c.receiver)
