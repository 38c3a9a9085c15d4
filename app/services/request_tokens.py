"""ClientRequestToken: the same request again gets the same answer, another one under the same token is refused.

The answer is kept in the transaction that made it, so a request that failed leaves its token free.
"""

import hashlib
import json
from collections.abc import Callable
from datetime import timedelta
from functools import wraps

from sqlalchemy.engine import Connection

from app.db import request_tokens
from app.db.session import Database
from app.domain.caller import Caller
from app.errors import IdempotentParameterMismatch
from app.services.collections import Document

#: AWS does not say how long a token lives; a day is what the field keeps.
KEEP = timedelta(days=1)

Handler = Callable[[Connection, Caller, Document], Document]


def once_per_token(handler: Handler) -> Handler:
    """Wrap the handler of an operation that takes a ClientRequestToken."""

    @wraps(handler)
    def run(connection: Connection, caller: Caller, request: Document) -> Document:
        token = request.get("ClientRequestToken")
        if token is None:
            return handler(connection, caller, request)
        fingerprint = _fingerprint(handler.__name__, request)
        known = request_tokens.find(connection, caller.account_id, token)
        if known is None:
            response = handler(connection, caller, request)
            request_tokens.insert(connection, caller.account_id, token, fingerprint, response)
            return response
        if bytes(known.request_hash) != fingerprint:
            raise IdempotentParameterMismatch(token)
        repeated: Document = known.response
        return repeated

    return run


def _fingerprint(operation: str, request: Document) -> bytes:
    return hashlib.sha256(json.dumps([operation, request], sort_keys=True).encode()).digest()


def purge(database: Database) -> None:
    """Forget tokens that are older than their life."""
    with database.transaction() as connection:
        request_tokens.purge(connection, keep=KEEP)
