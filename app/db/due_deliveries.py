"""Which deliveries are next: in turns between accounts and between receivers, so that a slow one never delays another.

Receivers of new deliveries are found one after the other in an index, however many each has; retries by the time when they are
due. Those that may not be sent anything now are passed over. Only the rows that are taken are ever locked.
"""

from typing import Any

import sqlalchemy as sa

from app.db.schema import deliveries, receivers, webhook_endpoints
from app.domain.receivers import FAILURES_TO_OPEN, FIRST_CONCURRENCY, MAX_CONCURRENCY

#: Deliveries under way that are counted of one account; beyond that no account comes before another.
_MOST_COUNTED = 256

_now = sa.func.now()
_pending = deliveries.c.status == "PENDING"
_begun = deliveries.c.attempts != deliveries.c.round_start  # what has no attempt in its round is due as it is
_HEAD = tuple(deliveries.c[name] for name in ("account_id", "receiver", "endpoint_id", "next_attempt_at", "urgent"))
_DUE = (_pending, deliveries.c.next_attempt_at <= _now)


def next_due() -> sa.CTE:
    """Lock and give deliveries that are due, one for each receiver, up to `most`.

    The account that has the fewest under way comes first, and of its receivers the one that has; with `idle_only` accounts that
    have anything under way are passed over. `probing` tells that a delivery tries a circuit, `open_until` how that was found,
    `known` that the receiver has a row.
    """
    ready = _in_turns(_ready_receivers().cte("sendable"))
    first = (
        sa.select(deliveries.c.delivery_id, deliveries.c.trigger)
        .where(same_receiver(deliveries, ready), *_DUE)
        .order_by(deliveries.c.urgent.desc(), deliveries.c.next_attempt_at)
        .limit(1)
        .with_for_update(skip_locked=True)
        .lateral("first")
    )
    # Rows come in the order of the ready receivers, and the limit stops once enough could be locked.
    chosen = sa.select(first, ready.c.account_id, ready.c.receiver, ready.c.probing, ready.c.open_until, ready.c.known)
    return chosen.select_from(ready.join(first, sa.true())).limit(sa.bindparam("most", type_=sa.Integer)).cte("due")


def _in_turns(sendable: sa.CTE) -> sa.CTE:
    """Number what each account would have under way with one receiver after the other, and put them in that order."""
    idle_only = sa.bindparam("idle_only", type_=sa.Boolean)
    accounts = sa.select(sendable.c.account_id).distinct().subquery("accounts")
    busy = _count_leased(accounts, _leased.c.account_id == accounts.c.account_id, limit=_MOST_COUNTED).lateral("busy")
    place = sa.func.row_number().over(
        partition_by=sendable.c.account_id, order_by=(sendable.c.under_way, sendable.c.next_attempt_at)
    )
    numbered = (
        sa.select(sendable, (busy.c.under_way + place).label("turn"))
        .select_from(sendable.join(accounts, accounts.c.account_id == sendable.c.account_id).join(busy, sa.true()))
        .subquery("numbered")
    )
    allowed = sa.or_(~idle_only, numbered.c.turn == 1)
    return sa.select(numbered).where(allowed).order_by(numbered.c.turn, numbered.c.next_attempt_at).cte("ready")


def _ready_receivers() -> sa.Select[*tuple[Any, ...]]:
    """Select the receivers to whom something may be sent now, and how much is under way."""
    heads = _heads()
    under_way = _count_leased(heads, same_receiver(_leased, heads), limit=MAX_CONCURRENCY).lateral("under_way")
    concurrency = sa.func.coalesce(receivers.c.concurrency, FIRST_CONCURRENCY)
    probing = sa.func.coalesce(receivers.c.failures >= FAILURES_TO_OPEN, False)
    return (
        sa.select(
            heads,
            under_way.c.under_way,
            probing.label("probing"),
            receivers.c.open_until,
            receivers.c.receiver.is_not(None).label("known"),
        )
        .select_from(heads.join(under_way, sa.true()))
        .outerjoin(receivers, same_receiver(receivers, heads))
        .outerjoin(webhook_endpoints, webhook_endpoints.c.endpoint_id == heads.c.endpoint_id)
        .where(
            sa.func.coalesce(webhook_endpoints.c.status, "ENABLED") == "ENABLED",
            sa.or_(
                sa.func.coalesce(receivers.c.open_until, _now) <= _now,
                sa.and_(heads.c.urgent, under_way.c.under_way == 0),  # somebody waits for it, and nobody probes
            ),
            under_way.c.under_way < concurrency,
        )
    )


def _heads() -> sa.CTE:
    """Find the receivers to whom something is due, with the time of the earliest of it; what is not due costs nothing."""
    retries = sa.select(*_HEAD).where(_pending, _begun, deliveries.c.next_attempt_at <= _now)
    due = sa.union_all(sa.select(_fresh()), retries).subquery("due_heads")
    earliest = sa.func.min(due.c.next_attempt_at).label("next_attempt_at")
    whose = (due.c.account_id, due.c.receiver, due.c.endpoint_id)
    urgent = sa.func.bool_or(due.c.urgent).label("urgent")
    return sa.select(*whose, earliest, urgent).group_by(*whose).cte("heads")


def _fresh() -> sa.CTE:
    """Walk from receiver to receiver, one probe of the index for each, to its first delivery whose round has not begun."""
    whose = (deliveries.c.account_id, deliveries.c.receiver)
    order = (*whose, deliveries.c.urgent.desc(), deliveries.c.next_attempt_at)
    first = sa.select(*_HEAD).where(_pending, ~_begun).order_by(*order).limit(1).subquery("first_fresh")
    fresh = sa.select(first).cte("fresh", recursive=True)
    beyond = sa.tuple_(*whose) > sa.tuple_(fresh.c.account_id, fresh.c.receiver)
    following = sa.select(*_HEAD).where(_pending, ~_begun, beyond).order_by(*order).limit(1).lateral("following")
    return fresh.union_all(sa.select(following).select_from(fresh.join(following, sa.true())))


_leased = deliveries.alias("leased")


def _count_leased(whose: sa.FromClause, condition: sa.ColumnElement[bool], *, limit: int) -> sa.Select[Any]:
    """Count deliveries under way, up to a limit. It and the order have Postgres walk the index, which mends itself so."""
    some = sa.select(sa.literal(1)).where(condition, _leased.c.leased_until > _now).correlate(whose)
    bounded = some.order_by(_leased.c.account_id, _leased.c.receiver).limit(limit).lateral("some")
    return sa.select(sa.func.count().label("under_way")).select_from(bounded)


def waiting(limit: int) -> sa.Select[*tuple[Any, ...]]:
    """Select receivers to whom something may be sent now, up to a limit: none of an open circuit, none that is busy."""
    return _ready_receivers().limit(limit)


def same_receiver(one: sa.FromClause, other: sa.FromClause) -> sa.ColumnElement[bool]:
    """Match rows of one receiver."""
    return sa.and_(one.c.account_id == other.c.account_id, one.c.receiver == other.c.receiver)
