"""Submit and poll: POST /v1/jobs, GET /v1/jobs/{JobId}. The same operations, handlers and workers as POST /."""

import json
import re
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, Response, request

from app import service_model
from app.api import auth
from app.api.context import Context, context
from app.api.errors import problem
from app.domain.addresses import Refused, parse_target
from app.domain.images import IMAGE_MEMBERS, check_one_source
from app.domain.jobs import Job, document
from app.errors import InvalidImageUrl, InvalidParameter, SerializationError, ServiceError, ValidationError
from app.service_model.reading import UNSTORABLE
from app.services import jobs, operations
from app.services.jobs import Submission
from app.services.waiting import TooManyWaiters

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

_MEMBERS = frozenset({"Operation", "Input", "Webhook", "ClientRequestToken", "Metadata"})
_LONGEST_WAIT_SECONDS = 30
_TOKEN = re.compile(r"[a-zA-Z0-9-_.:]{1,255}")
_SECONDS = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class _Body:
    operation: str
    input: dict[str, Any]
    webhook_url: str | None
    token: str | None
    caller_metadata: dict[str, str] | None


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("")
def submit() -> Response:
    """Commit a job and answer 202, or 200 with the result where the caller prefers to wait and it came in time."""
    shared = context()
    auth.require_credentials(request)
    caller = auth.caller(request, request.get_data(), shared)
    body = _read(_members(), shared)
    auth.authorize(caller, body.operation, body.input)
    submission = Submission(
        account_id=caller.account_id,
        operation=body.operation,
        input=body.input,
        idempotency_key=_idempotency_key(body.token),
        webhook_url=body.webhook_url,
        caller_metadata=body.caller_metadata,
    )
    job, replayed = jobs.submit(shared.database, shared.doorbell, submission)
    wait = _preferred_wait()
    job = _wait(shared, job, wait)
    answer = _answer(job, status=200 if job.done else 202)
    answer.headers["Location"] = f"/v1/jobs/{job.job_id}"
    if replayed:
        answer.headers["Idempotency-Replayed"] = "true"
    if wait:
        answer.headers["Preference-Applied"] = f"wait={wait}"
    return answer


@blueprint.get("/<job_id>")
def show(job_id: str) -> Response:
    """Show a job; with ?wait=N as soon as it is done, N seconds at most."""
    shared = context()
    auth.require_credentials(request)
    caller = auth.caller(request, b"", shared)
    job = jobs.get(shared.database, caller.account_id, job_id)
    caller.check_allowed(job.operation, job.collection)
    job = _wait(shared, job, _seconds(request.args.get("wait", "0"), "wait"))
    return _answer(job, status=200)


def _answer(job: Job, *, status: int) -> Response:
    answer = Response(json.dumps(document(job)), status=status, content_type="application/json")
    answer.headers["Cache-Control"] = "no-store"
    if not job.done:
        answer.headers["Retry-After"] = "1"
    return answer


def _wait(shared: Context, job: Job, seconds: int) -> Job:
    try:
        return shared.waiting.wait(job, seconds)
    except TooManyWaiters:
        return job  # as it stands: polling works without a seat in the waiting room


def _members() -> dict[str, Any]:
    """Read the members of a submission from JSON or from multipart/form-data."""
    if request.mimetype != "multipart/form-data":
        return _object(request.get_data(), "The request body")
    members: dict[str, Any] = {}
    for name, value in request.form.items():
        members[name] = value if name in ("Operation", "ClientRequestToken") else _object(value, f"The field {name}")
    images = {name: {"Bytes": file.read()} for name, file in request.files.items()}
    members["Input"] = {**members.get("Input", {}), **images}
    return members


def _object(text: str | bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SerializationError(f"{what} is not valid JSON.") from error
    if not isinstance(value, dict):
        raise SerializationError(f"{what} must be a JSON object.")
    return value


def _read(members: dict[str, Any], shared: Context) -> _Body:
    unknown = sorted(set(members) - _MEMBERS)
    if unknown:
        raise ValidationError(f"Unknown member {unknown[0]}; known are {', '.join(sorted(_MEMBERS))}.")
    operation = members.get("Operation")
    if not isinstance(operation, str) or operation not in operations.IMAGE:
        raise ValidationError(f"Operation must be one of {', '.join(sorted(operations.IMAGE))}.")
    input_ = service_model.check_input(operation, members.get("Input", {}), extensions=True)
    for member in IMAGE_MEMBERS:
        if member in input_:
            check_one_source(input_[member])
            _check_image_url(input_[member].get("Url"), shared)
    return _Body(
        operation=operation,
        input=input_,
        webhook_url=_webhook_url(members.get("Webhook"), shared),
        token=members.get("ClientRequestToken"),
        caller_metadata=_caller_metadata(members.get("Metadata")),
    )


def _check_image_url(url: str | None, shared: Context) -> None:
    if url is not None:
        try:
            parse_target(url, shared.settings.dial_allow)
        except Refused as error:
            raise InvalidImageUrl(str(error)) from error


def _webhook_url(webhook: object, shared: Context) -> str | None:
    if webhook is None:
        return None
    if not isinstance(webhook, dict) or set(webhook) != {"Url"} or not isinstance(webhook["Url"], str):
        raise ValidationError('Webhook must be {"Url": "https://..."}.')
    try:
        parse_target(webhook["Url"], shared.settings.dial_allow)
    except Refused as error:
        raise InvalidParameter(f"Webhook.Url: {error}") from error
    return str(webhook["Url"])


def _caller_metadata(value: object) -> dict[str, str] | None:
    if value is None:
        return None
    if (
        not isinstance(value, dict)
        or len(value) > 16
        or not all(_fits(k, 64) and _fits(v, 512) for k, v in value.items())
    ):
        raise ValidationError("Metadata must hold at most 16 texts of at most 512 characters, keys of at most 64.")
    return dict(value)


def _fits(value: object, longest: int) -> bool:
    return isinstance(value, str) and len(value) <= longest and not UNSTORABLE.search(value)


def _idempotency_key(token: object) -> str | None:
    # The header is a quoted string by the IETF draft; bare values are common.
    header = request.headers.get("Idempotency-Key", "").strip().strip('"')
    key = header or token
    if key is None:
        return None
    if not isinstance(key, str) or not _TOKEN.fullmatch(key):
        raise ValidationError("Idempotency-Key and ClientRequestToken must match [a-zA-Z0-9-_.:]{1,255}.")
    return "v1:" + key


def _preferred_wait() -> int:
    for preference in request.headers.get("Prefer", "").split(","):
        name, _, value = preference.strip().partition("=")
        if name.lower() == "wait":
            return _seconds(value, "Prefer: wait")
    return 0


def _seconds(value: str, what: str) -> int:
    if not _SECONDS.fullmatch(value):
        raise ValidationError(f"{what} must be a whole number of seconds.")
    return min(int(value), _LONGEST_WAIT_SECONDS)
