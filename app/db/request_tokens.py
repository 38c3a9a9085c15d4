"""Queries on request tokens: the answer that a repeated request gets again."""

from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from app.db.schema import request_tokens
from app.db.session import Row


def find(connection: Connection, account_id: int, token: str) -> Row | None:
    """Find what was answered under a token: request_hash and response. A second request with it waits for the first."""
    lock = sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(token, account_id))
    connection.execute(sa.select(lock))
    statement = sa.select(request_tokens.c.request_hash, request_tokens.c.response).where(
        request_tokens.c.account_id == account_id, request_tokens.c.token == token
    )
    return connection.execute(statement).one_or_none()


def insert(connection: Connection, account_id: int, token: str, request_hash: bytes, response: dict[str, Any]) -> None:
    """Keep an answer, in the transaction that made it."""
    values = {"account_id": account_id, "token": token, "request_hash": request_hash, "response": response}
    connection.execute(sa.insert(request_tokens).values(**values))


def purge(connection: Connection, *, keep: timedelta) -> int:
    """Forget old tokens; give how many."""
    statement = sa.delete(request_tokens).where(request_tokens.c.created_at < sa.func.now() - keep)
    return connection.execute(statement).rowcount
