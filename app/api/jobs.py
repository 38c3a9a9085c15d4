"""Submit, poll, list, cancel, retry: /v1/jobs. The same operations, handlers and workers as POST /."""

import hashlib
import json
import re
from functools import partial
from typing import Any

from flask import Blueprint, Response, request

from app.api import auth, submissions
from app.api.connection import hung_up
from app.api.context import Context, context
from app.api.documents import read_page
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.jobs import Job, Status, document, priority
from app.errors import AccessDenied, JobNotFound, ServiceError, ServiceUnavailable, ValidationError
from app.services import audit, jobs, operations
from app.services.jobs import Submission
from app.services.waiting import TooManyWaiters

blueprint = Blueprint("jobs", __name__, url_prefix="/v1/jobs")

LONGEST_WAIT_SECONDS = 30
_NUMBER = re.compile(r"[0-9]{1,9}")
_WAIT = re.compile(r'\s*wait\s*=\s*"?([0-9]{1,9})"?\s*(?:;.*)?', re.IGNORECASE)
_COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("")
def submit() -> Response:
    """Commit a job and answer 202, or 200 with the result where the caller prefers to wait and it came in time."""
    shared, caller = _caller(request.get_data())
    submission = submissions.read(caller, shared)
    auth.authorize(caller, submission.operation, submission.input)
    return _submit(shared, submission)


def _submit(shared: Context, submission: Submission) -> Response:
    wait = _preferred_wait()
    job, replayed = jobs.submit(shared.database, shared.doorbell, submission, shared.admission)
    job, waited = _wait(shared, job, wait)
    answer = _answer(shared, job, None, status=200 if job.done else 202)
    answer.headers["Location"] = f"/v1/jobs/{job.job_id}"
    if replayed:
        answer.headers["Idempotency-Replayed"] = "true"
    if waited:
        answer.headers["Preference-Applied"] = f"wait={wait}"
    return answer


@blueprint.get("")
def list_() -> Response:
    """List the account's jobs, newest first, without their results."""
    shared, caller = _caller(b"")
    page = read_page("Jobs", "Status", "Operation", "CollectionId")
    found = jobs.list_page(shared.database, caller.account_id, before=page.before, limit=page.limit, filters=_filters())
    visible = {job.job_id for job in found if _may_see(caller, job)}
    listed = page.show([document(job, with_result=False) for job in found], "JobId")
    return _json({**listed, "Jobs": [job for job in listed["Jobs"] if job["JobId"] in visible]})


def _may_see(caller: Caller, job: Job) -> bool:
    try:
        auth.authorize(caller, job.operation, job.subject)
    except AccessDenied:
        return False
    return True


def _filters() -> dict[str, str]:
    status, operation = request.args.get("Status"), request.args.get("Operation")
    collection = request.args.get("CollectionId")
    if status is not None and status not in list(Status):
        raise ValidationError(f"Status must be one of {', '.join(Status)}.")
    if operation is not None and operation not in operations.ALL:
        raise ValidationError(f"Operation must be one of {', '.join(sorted(operations.ALL))}.")
    if collection is not None and not _COLLECTION_ID.fullmatch(collection):
        raise ValidationError("CollectionId must be 1 to 255 letters, digits, dots, hyphens or underscores.")
    wanted = {"status": status, "operation": operation, "collection": collection}
    return {name: value for name, value in wanted.items() if value is not None}


@blueprint.get("/<job_id>")
def show(job_id: str) -> Response:
    """Show a job; with ?wait=N as soon as it is done, N seconds at most; 304 where the caller has it as it is."""
    shared, caller = _caller(b"")
    seconds = request.args.get("wait", "0")
    if not _NUMBER.fullmatch(seconds):
        raise ValidationError("wait must be a whole number of seconds.")
    job, _ = _wait(shared, _find(shared, caller, job_id), min(int(seconds), LONGEST_WAIT_SECONDS))
    answer = _answer(shared, job, jobs.position(shared.database, job), status=200)
    answer.make_conditional(request)
    if job.result is not None and answer.status_code != 304:
        audit.note_reading(shared.database, job, caller)
    return answer


@blueprint.post("/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """Take a job back: 200 when it has ended, now or before; 202 when its worker still has to stop."""
    shared, caller = _caller(request.get_data())
    _find(shared, caller, job_id)
    job = shared.outcomes.cancel(caller.account_id, job_id, caller.actor)
    if job is None:  # purged between the two looks
        raise JobNotFound(job_id)
    return _answer(shared, job, None, status=200 if job.done else 202)


@blueprint.post("/<job_id>/retry")
def retry(job_id: str) -> Response:
    """Submit a job that ended without success once more, as a new one."""
    shared, caller = _caller(request.get_data())
    key = submissions.idempotency_key(None)
    job = _find(shared, caller, job_id)
    return _submit(shared, jobs.again(shared.database, job, idempotency_key=key, actor=caller.actor))


def _caller(body: bytes) -> tuple[Context, Caller]:
    shared = context()
    auth.require_credentials(request)
    return shared, auth.caller(request, body, shared)


def _find(shared: Context, caller: Caller, job_id: str) -> Job:
    job = jobs.get(shared.database, caller.account_id, job_id, keep=shared.settings.job_retention)
    auth.authorize(caller, job.operation, job.subject)
    return job


def _answer(shared: Context, job: Job, position: int | None, *, status: int) -> Response:
    answer = _json(document(job, position=position), status)
    # How many are before it changes all the time, and is no reason to send the job again.
    answer.set_etag(_digest(json.dumps(document(job)).encode()))
    if not job.done:
        answer.headers["Retry-After"] = str(_retry_after(shared, job))
    return answer


def _retry_after(shared: Context, job: Job) -> int:
    """Estimate when to ask again; a job that was committed is answered without Postgres too."""
    try:
        return shared.admission.wait_seconds(job.account_id, priority(job).lane)
    except ServiceUnavailable:
        return 1


def _json(body: dict[str, Any], status: int = 200) -> Response:
    content = json.dumps(body).encode()
    answer = Response(content, status=status, content_type="application/json")
    answer.set_etag(_digest(content))
    answer.headers["Cache-Control"] = "private, no-cache"
    return answer


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _wait(shared: Context, job: Job, seconds: int) -> tuple[Job, bool]:
    """Wait for a job; give it as it stands, and whether there was a seat to wait in: polling works without one."""
    try:
        return shared.waiting.wait(job, seconds, partial(hung_up, request.environ)), seconds > 0
    except (TooManyWaiters, ServiceUnavailable):
        return job, False


def _preferred_wait() -> int:
    """Read how long the caller prefers to wait (RFC 7240); a preference that cannot be read is none."""
    for preference in request.headers.get("Prefer", "").split(","):
        found = _WAIT.fullmatch(preference)
        if found is not None:
            return min(int(found[1]), LONGEST_WAIT_SECONDS)
    return 0
