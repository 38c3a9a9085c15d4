"""Queries on webhook events, deliveries and attempts.

A courier takes a delivery with a lease and a row for the attempt, in one statement; one that dies leaves it to be taken again:
at least once, with the same event id and the same bytes. Which delivery is next is told in `app.db.due_deliveries`.
"""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.due_deliveries import next_due, same_receiver, waiting
from app.db.schema import accounts, deliveries, delivery_attempts, events, receivers, webhook_endpoints, webhook_secrets
from app.db.session import Row
from app.domain.receivers import FAILURES_TO_OPEN

_now = sa.func.now()
_lease = sa.bindparam("lease", type_=sa.Interval)


def claim(connection: Connection, *, lease: timedelta, limit: int, idle_only: bool = False) -> list[Row]:
    """Take due deliveries of different receivers, with all that an attempt needs: body, secrets, time in epoch seconds.

    There may be more of the same receivers. With `idle_only` nothing is taken of accounts that have anything under way.
    Endpoints have `secrets` of their own, the newest first.
    """
    return list(connection.execute(_CLAIM, {"lease": lease, "most": limit, "idle_only": idle_only}))


def _claim_and_open_attempt() -> sa.Select[*tuple[Any, ...]]:
    due = next_due()
    probe = _probe(due)
    taken = (
        sa.update(deliveries)
        .where(
            deliveries.c.delivery_id == due.c.delivery_id,
            sa.or_(~due.c.probing, sa.exists(sa.select(probe).where(same_receiver(probe, due)))),
        )
        .values(
            attempts=deliveries.c.attempts + 1,
            # Whatever asked for this attempt, the next one is the schedule's; a test has no other.
            trigger=sa.case((deliveries.c.trigger == "TEST", "TEST"), else_="SCHEDULE"),
            urgent=False,
            next_attempt_at=_now + _lease,
            leased_until=_now + _lease,
        )
        .returning(deliveries, due.c.trigger.label("asked_by"), due.c.probing, due.c.known)
        .cte("taken")
    )
    opened = sa.insert(delivery_attempts).from_select(
        ["delivery_id", "attempt", "trigger"], sa.select(taken.c.delivery_id, taken.c.attempts, taken.c.asked_by)
    )
    return _with_message(taken).add_cte(opened.cte("opened"))


def _probe(due: sa.CTE) -> sa.CTE:
    """Shut a circuit behind its probe for as long as the lease: of two couriers only one finds the row as it was."""
    return (
        sa.update(receivers)
        .where(
            due.c.probing,
            same_receiver(receivers, due),
            receivers.c.failures >= FAILURES_TO_OPEN,
            receivers.c.open_until.is_not_distinct_from(due.c.open_until),
        )
        .values(open_until=_now + _lease)
        .returning(receivers.c.account_id, receivers.c.receiver)
        .cte("probe")
    )


def _with_message(taken: sa.CTE) -> sa.Select[*tuple[Any, ...]]:
    newest_first = aggregate_order_by(webhook_secrets.c.secret, webhook_secrets.c.secret_id.desc())
    secrets = (
        sa.select(sa.func.array_agg(newest_first))
        .where(
            webhook_secrets.c.endpoint_id == taken.c.endpoint_id,
            sa.func.coalesce(webhook_secrets.c.expires_at > _now, True),
        )
        .scalar_subquery()
    )
    return (
        sa.select(
            taken.c.delivery_id,
            taken.c.account_id,
            taken.c.event_id,
            taken.c.endpoint_id,
            taken.c.receiver,
            taken.c.attempts,
            taken.c.round_start,
            taken.c.asked_by,
            taken.c.probing,
            taken.c.known,
            sa.func.coalesce(webhook_endpoints.c.url, taken.c.url).label("url"),
            webhook_endpoints.c.headers,
            webhook_endpoints.c.payload,
            secrets.label("secrets"),
            events.c.body,
            accounts.c.name.label("account"),
            accounts.c.webhook_secret,
            sa.extract("epoch", _now).label("timestamp"),
        )
        .join(events, events.c.event_id == taken.c.event_id)
        .join(accounts, accounts.c.account_id == taken.c.account_id)
        .outerjoin(webhook_endpoints, webhook_endpoints.c.endpoint_id == taken.c.endpoint_id)
    )


#: Built once: between a doorbell and its attempt every millisecond counts.
_CLAIM = _claim_and_open_attempt()


def record(
    connection: Connection,
    delivery_id: object,
    attempt: int,
    answer: dict[str, Any],
    *,
    status: str,
    pause: timedelta | None,
) -> bool:
    """Write down one attempt and where the delivery stands after it.

    A newer attempt is never overwritten; False where there is one, or where the delivery has gone.
    """
    noted = (
        sa.update(delivery_attempts)
        .where(delivery_attempts.c.delivery_id == delivery_id, delivery_attempts.c.attempt == attempt)
        .values(**answer)
        .returning(delivery_attempts.c.attempt)
        .cte("noted")
    )
    standing = {"finished_at": _now} if pause is None else {"next_attempt_at": _now + pause}
    statement = (
        sa.update(deliveries)
        .where(
            deliveries.c.delivery_id == delivery_id,
            deliveries.c.attempts == attempt,
            deliveries.c.status == "PENDING",
        )
        .values(status=status, leased_until=None, **standing)
        .add_cte(noted)
    )
    return connection.execute(statement).rowcount == 1


def bury(connection: Connection, *, limit: int) -> int:
    """End what waits for endpoints that were disabled because they failed or have gone; give how many."""
    lost = webhook_endpoints.c.disabled_reason.in_(("FAILING", "GONE"))
    doomed = (
        sa.select(deliveries.c.delivery_id)
        .join(
            webhook_endpoints,
            sa.and_(
                deliveries.c.account_id == webhook_endpoints.c.account_id,
                deliveries.c.receiver == sa.cast(webhook_endpoints.c.endpoint_id, sa.Text),
            ),
        )
        .where(lost, deliveries.c.status == "PENDING", sa.func.coalesce(deliveries.c.leased_until <= _now, True))
        .limit(limit)
        .with_for_update(of=deliveries, skip_locked=True)
    )
    statement = sa.update(deliveries).where(deliveries.c.delivery_id.in_(once(doomed)))
    return connection.execute(statement.values(status="FAILED", finished_at=_now, leased_until=None)).rowcount


def count_due(connection: Connection, *, limit: int) -> int:
    """Count the receivers to whom couriers could send something now, up to a limit."""
    return connection.execute(sa.select(sa.func.count()).select_from(waiting(limit).subquery())).scalar_one()
