"""/v1/audit: who did what to which collection of the account. What is read is also written down."""

import re
from collections.abc import Mapping
from datetime import datetime

from flask import Blueprint, Response, request

from app.api import auth
from app.api.context import context
from app.api.documents import answer, read_page
from app.api.errors import problem
from app.domain.audit import Act, Filter
from app.domain.deliveries import read_moment
from app.domain.scopes import OWN
from app.errors import ServiceError, ValidationError
from app.services import audit, operations

blueprint = Blueprint("audit", __name__, url_prefix="/v1/audit")

#: What a line may be about, and so what may be asked for; a denial names the permission that was wanting.
OPERATIONS = sorted(operations.ALL | OWN | set(Act))

COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")
ACCESS_KEY_ID = re.compile(r"[a-zA-Z0-9]{1,128}")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.get("")
def list_page() -> Response:
    """List the account's lines, newest first, as the filters say."""
    shared = context()
    caller = auth.auditor(request, shared)
    page = read_page("Lines", "CollectionId", "Operation", "AccessKeyId", "Since", "Until")
    found = audit.list_page(shared.database, caller, _filter(request.args), before=page.before, limit=page.limit)
    return answer(page.show(found, "AuditId"))


def _filter(given: Mapping[str, str]) -> Filter:
    operation = given.get("Operation")
    if operation is not None and operation not in OPERATIONS:
        raise ValidationError(f"Operation must be one of {', '.join(OPERATIONS)}.")
    return Filter(
        _name(given, "CollectionId", COLLECTION_ID),
        operation,
        _name(given, "AccessKeyId", ACCESS_KEY_ID),
        _moment(given, "Since"),
        _moment(given, "Until"),
    )


def _name(given: Mapping[str, str], member: str, form: re.Pattern[str]) -> str | None:
    value = given.get(member)
    if value is not None and not form.fullmatch(value):
        raise ValidationError(f"{member} must match {form.pattern}.")
    return value


def _moment(given: Mapping[str, str], member: str) -> datetime | None:
    return read_moment(given[member], member) if member in given else None
