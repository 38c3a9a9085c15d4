"""Liveness and readiness: is the process up, and can it take work."""

import json

from flask import Blueprint, Response

from app.api.context import context
from app.db.migrate import is_at_head
from app.errors import ServiceUnavailable

blueprint = Blueprint("probes", __name__)


@blueprint.get("/livez")
def live() -> Response:
    """Say that the process answers; asks nobody else."""
    return _answer({"status": "live"}, 200)


@blueprint.get("/readyz")
def ready() -> Response:
    """Say whether jobs can be committed. Without Redis the answer is still yes: jobs are slower then, not lost."""
    shared = context()
    try:
        with shared.database.transaction() as connection:
            migrated = is_at_head(connection)
    except ServiceUnavailable:
        return _answer({"status": "unavailable", "postgres": "unreachable"}, 503)
    if not migrated:
        return _answer({"status": "unavailable", "postgres": "migrations are missing"}, 503)
    bell = shared.doorbell.answers()
    status = {"status": "ready" if bell else "degraded", "postgres": "ok", "redis": "ok" if bell else "unreachable"}
    return _answer(status, 200)


def _answer(body: dict[str, str], status: int) -> Response:
    return Response(json.dumps(body), status=status, content_type="application/json")
