"""Queries on the audit log: write lines, read them newest first, forget the oldest. Nothing changes a line.

Ids are UUIDv7 and so begin with their time: a range of time is a range of ids.
"""

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.bounded import once
from app.db.schema import accounts, audit_log
from app.domain.audit import ActorKind, Filter, Line, least_id

_SELECT = sa.select(*audit_log.c, sa.func.uuid_extract_timestamp(audit_log.c.audit_id).label("recorded_at"))


def insert(connection: Connection, lines: Sequence[Line]) -> None:
    """Write lines, in one statement."""
    connection.execute(sa.insert(audit_log), [_values(line) for line in lines])


def _values(line: Line) -> dict[str, Any]:
    return {
        "account_id": line.account_id,
        "actor_kind": line.actor.kind.value,
        "actor": line.actor.id,
        "source_address": line.actor.source_address,
        "request_id": line.actor.request_id,
        "operation": line.operation,
        "collection": line.collection,
        "resources": dict(line.resources),
        "result": line.result,
        "count": line.count,
    }


def list_page(
    connection: Connection, account_id: int, wanted: Filter, *, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """List lines of an account, newest first."""
    statement = _SELECT.where(audit_log.c.account_id == account_id, *_conditions(wanted))
    return _read(connection, statement, before=before, limit=limit)


def list_all(
    connection: Connection, wanted: Filter, *, account: str | None, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    """List lines of all accounts, or of the one of a name, with the names of the accounts, newest first."""
    statement = _SELECT.add_columns(accounts.c.name.label("account")).select_from(
        audit_log.outerjoin(accounts, accounts.c.account_id == audit_log.c.account_id)
    )
    conditions = _conditions(wanted) if account is None else [accounts.c.name == account, *_conditions(wanted)]
    return _read(connection, statement.where(*conditions), before=before, limit=limit)


def _conditions(wanted: Filter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.collection is not None:
        conditions.append(audit_log.c.collection == wanted.collection)
    if wanted.operation is not None:
        conditions.append(audit_log.c.operation == wanted.operation)
    if wanted.access_key_id is not None:
        conditions += [audit_log.c.actor_kind == ActorKind.KEY.value, audit_log.c.actor == wanted.access_key_id]
    if wanted.since is not None:
        conditions.append(audit_log.c.audit_id >= least_id(wanted.since))
    if wanted.until is not None:
        conditions.append(audit_log.c.audit_id < least_id(wanted.until))
    return conditions


def _read(
    connection: Connection, statement: sa.Select[Any], *, before: uuid.UUID | None, limit: int
) -> list[dict[str, Any]]:
    if before is not None:
        statement = statement.where(audit_log.c.audit_id < before)
    found = connection.execute(statement.order_by(audit_log.c.audit_id.desc()).limit(limit)).mappings()
    return [{**row} for row in found]


def purge(connection: Connection, *, keep: timedelta, limit: int) -> int:
    """Delete the oldest lines, if they are older than they are kept; give how many."""
    connection.execute(sa.select(sa.func.set_config("rekollect.purges_audit_log", "on", True)))
    first = sa.func.uuidv7(sa.literal(-keep, sa.Interval), type_=sa.Uuid)
    doomed = (
        sa.select(audit_log.c.audit_id)
        .where(audit_log.c.audit_id < first)
        .order_by(audit_log.c.audit_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    deleted = connection.execute(sa.delete(audit_log).where(audit_log.c.audit_id.in_(once(doomed)))).rowcount
    connection.execute(sa.select(sa.func.set_config("rekollect.purges_audit_log", "off", True)))
    return deleted
