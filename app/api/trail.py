"""What the API itself adds to the audit log: calls that a good key was not allowed to make."""

import logging

from flask import g

from app.api.context import context
from app.errors import AccessDenied, ServiceError, ServiceUnavailable
from app.services import audit

log = logging.getLogger(__name__)


def note_denial(error: ServiceError) -> None:
    """Write a denial down; the answer stays the same where Postgres is away."""
    if not isinstance(error, AccessDenied) or "caller" not in g:
        return
    collection = g.caller.collection_of_arn(error.resource_arn)
    line = audit.of_refusal(g.caller, error.operation, collection, error)
    try:
        with context().database.statement() as connection:
            audit.note(connection, line)
    except ServiceUnavailable:
        log.warning("denial_not_written_down", extra={"request_id": g.caller.request_id})
