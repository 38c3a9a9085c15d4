"""POST / in AWS JSON 1.1: X-Amz-Target picks the operation, the service model checks it, a worker answers it.

boto3 takes any 2xx for success, so an image operation blocks until its job is done; one that outlasts the wait gets an error
that SDKs retry, and the retry (same amz-sdk-invocation-id) joins the job that is still running.
"""

import hashlib
import json
from functools import partial
from typing import Any

from flask import Blueprint, Response, abort, request

from app import service_model
from app.api import auth
from app.api.connection import hung_up
from app.api.context import Context, context
from app.api.errors import AWS_JSON, StoredError, aws_answer
from app.domain.caller import Caller
from app.domain.images import IMAGE_MEMBERS, check_one_source
from app.domain.jobs import Status
from app.errors import SerializationError, ServiceError, ServiceUnavailable, Throttled, UnknownOperation
from app.services import jobs, operations
from app.services.waiting import TooManyWaiters

blueprint = Blueprint("rekognition", __name__)

#: JSON can take thirty times its size in memory; so much of it is parsed for strangers.
_PARSED_UNSIGNED_BYTES = 64 * 1024

#: What AWS tells a browser; it is the one answer of this wire in XML.
_NO_OPERATION = (
    "<AccessDeniedException>\n  <Message>Unable to determine service/operation name to be authorized</Message>\n"
    "</AccessDeniedException>\n"
)


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return aws_answer(error)


@blueprint.route("/", methods=["GET", "OPTIONS"])
def refuse_browser() -> Response:
    """Refuse what is no call, as AWS does; a browser's question before a call (CORS) is none either."""
    return Response(_NO_OPERATION, status=403, content_type="text/xml")


@blueprint.post("/", provide_automatic_options=False)
@blueprint.post("/<prefix:prefix>")
def call(prefix: str = "") -> Response:
    """Answer one call of an AWS client; a path prefix is the business of a proxy in front."""
    if prefix and "X-Amz-Target" not in request.headers:
        abort(404)
    output = _call(context())
    return Response(json.dumps(output), content_type=AWS_JSON)


def _call(shared: Context) -> dict[str, Any]:
    body = request.get_data(cache=False)
    operation, caller, document = _read(body, shared)
    checked = service_model.check_input(operation, document)
    auth.authorize(caller, operation, checked)
    if operation in operations.QUICK:
        return service_model.shape_output(operation, operations.run(shared.database, caller, operation, checked))
    return _run_job(shared, caller, operation, checked, _retry_key(body))


def _read(body: bytes, shared: Context) -> tuple[str, Caller, object]:
    """Parse before authenticating, as AWS does; a large body, whose parts could fill the memory, only after it."""
    target = request.headers.get("X-Amz-Target", "")
    if len(body) > _PARSED_UNSIGNED_BYTES:
        operation = _operation(target)
        caller = auth.signed_caller(request, body, shared)
        return operation, caller, _parse(body)
    document = _parse(body)
    operation = _operation(target)
    return operation, auth.signed_caller(request, body, shared), document


def _parse(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SerializationError from error


def _operation(target: str) -> str:
    prefix, _, operation = target.rpartition(".")
    if f"{prefix}." != service_model.TARGET_PREFIX or operation not in operations.ALL:
        raise UnknownOperation
    return operation


def _run_job(
    shared: Context, caller: Caller, operation: str, checked: dict[str, Any], retry_key: str | None
) -> dict[str, Any]:
    for member in IMAGE_MEMBERS:
        if member in checked:
            check_one_source(checked[member])
    submission = jobs.Submission(
        caller.account_id, operation, checked, idempotency_key=retry_key, region=caller.region, actor=caller.actor
    )
    job, _ = jobs.submit(shared.database, shared.doorbell, submission, shared.admission)
    try:
        job = shared.waiting.wait(job, shared.settings.wait_seconds, partial(hung_up, request.environ))
    except TooManyWaiters as error:
        raise Throttled from error
    if job.status is Status.SUCCEEDED and job.result is not None:
        return job.result
    if job.error is not None:
        raise StoredError(job.error)
    raise ServiceUnavailable


def _retry_key(body: bytes) -> str | None:
    """Make the key under which an SDK's retry finds the job of its first attempt.

    The header is not signed, so the body's digest is part of the key: another request never joins.
    """
    invocation = request.headers.get("amz-sdk-invocation-id")
    if not invocation:
        return None
    authorization = request.headers.get("Authorization", "")
    credential = authorization.partition("Credential=")[2].partition("/")[0]
    target = request.headers.get("X-Amz-Target", "")
    digest = hashlib.sha256(body).hexdigest()
    return "sdk:" + hashlib.sha256("\n".join((credential, invocation, target, digest)).encode()).hexdigest()
