"""Read a submission of POST /v1/jobs: JSON or multipart, checked against the service model and our own members' rules."""

import json
import re
import uuid
from datetime import datetime, timedelta
from typing import Any

from flask import request

from app import service_model
from app.api.context import Context
from app.domain.addresses import Refused, parse_target
from app.domain.caller import Caller
from app.domain.images import IMAGE_MEMBERS, check_one_source
from app.domain.jobs import LONGEST_DEADLINE, Priority
from app.errors import InvalidImageUrl, InvalidParameter, SerializationError, ValidationError
from app.service_model.reading import UNSTORABLE
from app.services import operations
from app.services.jobs import Submission

_MEMBERS = frozenset({"Operation", "Input", "Webhook", "ClientRequestToken", "Priority", "Deadline", "Metadata"})
_TEXT_FIELDS = frozenset({"Operation", "ClientRequestToken", "Priority"})
TOKEN = re.compile(r"[a-zA-Z0-9-_.:]{1,255}")
MAX_METADATA, LONGEST_METADATA_KEY, LONGEST_METADATA_VALUE = 16, 64, 512
_DEADLINE_FORM = (
    "Deadline must be a number of seconds, 1 to 86400, or a time with its zone such as 2030-01-31T12:00:00Z."
)


def read(caller: Caller, shared: Context) -> Submission:
    """Read the request's body as a submission of this caller; raises what is wrong with it."""
    members = _members()
    unknown = sorted(set(members) - _MEMBERS)
    if unknown:
        raise ValidationError(f"Unknown member {unknown[0]}; known are {', '.join(sorted(_MEMBERS))}.")
    operation = members.get("Operation")
    if not isinstance(operation, str) or operation not in operations.ALL:
        raise ValidationError(f"Operation must be one of {', '.join(sorted(operations.ALL))}.")
    url, endpoint_id = read_webhook(members.get("Webhook"), shared)
    return Submission(
        account_id=caller.account_id,
        operation=operation,
        input=_input(operation, members.get("Input", {}), shared),
        idempotency_key=idempotency_key(members.get("ClientRequestToken")),
        webhook_url=url,
        webhook_endpoint_id=endpoint_id,
        tells_endpoints=url is None and endpoint_id is None,
        caller_metadata=read_metadata(members.get("Metadata")),
        priority=_priority(members.get("Priority")),
        start_by=_deadline(members.get("Deadline")),
        region=caller.region,
        actor=caller.actor,
    )


def _members() -> dict[str, Any]:
    """Read the members of a submission from JSON or from multipart/form-data."""
    if request.mimetype != "multipart/form-data":
        return _object(request.get_data(), "The request body")
    members: dict[str, Any] = {}
    for name, value in request.form.items():
        members[name] = _field(name, value)
    images = {name: {"Bytes": file.read()} for name, file in request.files.items()}
    members["Input"] = {**members.get("Input", {}), **images}
    return members


def _field(name: str, value: str) -> Any:
    if name in _TEXT_FIELDS:
        return value
    if name == "Deadline":
        return int(value) if re.fullmatch("[0-9]{1,6}", value) else value
    return _object(value, f"The field {name}")


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{what} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise SerializationError(f"{what} must be a JSON object.")
    return value


def _input(operation: str, document: object, shared: Context) -> dict[str, Any]:
    checked = service_model.check_input(operation, document, extensions=True)
    for member in IMAGE_MEMBERS:
        if member in checked:
            check_one_source(checked[member])
            _check_image_url(checked[member].get("Url"), shared)
    return checked


def _check_image_url(url: str | None, shared: Context) -> None:
    if url is not None:
        try:
            parse_target(url, shared.settings.dial_allow)
        except Refused as error:
            raise InvalidImageUrl(str(error)) from error


def read_webhook(webhook: object, shared: Context) -> tuple[str | None, uuid.UUID | None]:
    """Read whom the end of a job or a batch is told: a URL, an endpoint, or neither."""
    if webhook is None:
        return None, None
    if (
        not isinstance(webhook, dict)
        or len(webhook) != 1
        or not all(isinstance(text, str) for text in webhook.values())
    ):
        raise ValidationError('Webhook must be {"Url": "https://..."} or {"EndpointId": "..."}.')
    if "EndpointId" in webhook:
        return None, _endpoint_id(webhook["EndpointId"])
    if "Url" not in webhook:
        raise ValidationError('Webhook must be {"Url": "https://..."} or {"EndpointId": "..."}.')
    try:
        parse_target(webhook["Url"], shared.settings.dial_allow)
    except Refused as error:
        raise InvalidParameter(f"Webhook.Url: {error}") from error
    return webhook["Url"], None


def _endpoint_id(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise ValidationError("Webhook.EndpointId must be the id of a webhook endpoint.") from error


def _priority(value: object) -> Priority:
    if value is None:
        return Priority.NORMAL
    if not isinstance(value, str) or value not in list(Priority):
        raise ValidationError(f"Priority must be one of {', '.join(Priority)}.")
    return Priority(value)


def _deadline(value: object) -> timedelta | datetime | None:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LONGEST_DEADLINE.total_seconds():
        return timedelta(seconds=value)
    if not isinstance(value, str):
        raise ValidationError(_DEADLINE_FORM)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError as error:
        raise ValidationError(_DEADLINE_FORM) from error
    if moment.tzinfo is None or not 2000 <= moment.year < 3000:  # what Postgres and Python both can hold
        raise ValidationError(_DEADLINE_FORM)
    return moment


def read_metadata(value: object) -> dict[str, str] | None:
    """Read what a caller wants to find again on a job or a batch."""
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or len(value) > MAX_METADATA
        or not all(_fits(k, LONGEST_METADATA_KEY) and _fits(v, LONGEST_METADATA_VALUE) for k, v in value.items())
    ):
        raise ValidationError(
            f"Metadata must hold at most {MAX_METADATA} texts of at most {LONGEST_METADATA_VALUE} characters, "
            f"keys of at most {LONGEST_METADATA_KEY}."
        )
    return dict(value)


def _fits(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and not UNSTORABLE.search(value)


def idempotency_key(token: object) -> str | None:
    """Read the key under which a repeated submit finds the job of the first; the header goes before the member."""
    # The header is a quoted string by the IETF draft; bare values are common.
    header = request.headers.get("Idempotency-Key", "").strip().strip('"')
    key = header or token
    if key is None:
        return None
    if not isinstance(key, str) or not TOKEN.fullmatch(key):
        raise ValidationError("Idempotency-Key and ClientRequestToken must match [a-zA-Z0-9-_.:]{1,255}.")
    return "v1:" + key
