"""Failures as answers: AWS's envelope on POST /, RFC 9457 problems under /v1. The only place that knows HTTP statuses."""

import json
import logging
import math
import uuid
from typing import Any

from flask import Response, g

from app.api import trail
from app.errors import FrontEndError, InternalServerError, ServiceError, ServiceUnavailable

log = logging.getLogger(__name__)

AWS_JSON = "application/x-amz-json-1.1"

#: Where the problem types are told; `type` of every problem points into this page.
PROBLEMS_PATH = "/docs/problems"

_PROBLEM_STATUS = {
    "MissingAuthenticationTokenException": 401,
    "UnrecognizedClientException": 401,
    "IncompleteSignatureException": 401,
    "ExpiredTokenException": 401,
    "InvalidSignatureException": 403,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ResourceAlreadyExistsException": 409,
    "ConflictException": 409,
    "GoneException": 410,
    "ImageTooLargeException": 413,
    "IdempotentParameterMismatchException": 422,
    "InternalServerError": 500,
}


class StoredError(ServiceError):
    """The error that a job ended with, raised again for whoever waited for it."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document["Message"])
        self.code = document["Code"]
        self.retryable = document["Retryable"]
        self.unavailable = self.code == ServiceUnavailable.code  # a job is never refused for its caller's rate


def request_id() -> str:
    """Give the id of this request, made at first need; it stands in every answer, and in the log beside an error."""
    if "request_id" not in g:
        g.request_id = str(uuid.uuid4())
    return str(g.request_id)


def name_request(answer: Response) -> Response:
    """Put the id of the request into its answer, whatever that is: boto3 shows it as ResponseMetadata.RequestId."""
    answer.headers["x-amzn-RequestId"] = request_id()
    return answer


def internal(error: Exception) -> ServiceError:
    """Log an unexpected failure with its traceback; the caller gets none of it."""
    log.error("request_failed", exc_info=error, extra={"request_id": request_id()})
    return InternalServerError()


def aws_answer(error: ServiceError) -> Response:
    """Render an error as AWS's JSON protocol does; front-end errors have a shorter body, as there."""
    trail.note_denial(error)
    body: dict[str, Any] = {"__type": error.code}
    if isinstance(error, FrontEndError):
        body["message"] = error.message
    else:
        body |= {"Code": error.code, "Logref": request_id(), "Message": error.message}
    answer = Response(json.dumps(body), status=_aws_status(error), content_type=AWS_JSON)
    answer.headers["x-amzn-ErrorType"] = error.code
    if error.retry_after_milliseconds is not None:
        answer.headers["x-amz-retry-after"] = str(error.retry_after_milliseconds)  # botocore waits as long as it says
    return answer


def _aws_status(error: ServiceError) -> int:
    return 500 if error.unavailable or error.code == "InternalServerError" else 400


def problem(error: ServiceError, status: int | None = None) -> Response:
    """Render an error as problem+json; `code` is the AWS name, which also gives the status where none is given."""
    trail.note_denial(error)
    status = status or problem_status(error)
    body = {
        "type": f"{PROBLEMS_PATH}#{error.code}",
        "title": error.code,
        "status": status,
        "detail": error.message,
        "code": error.code,
        "retryable": error.retryable,
        "request_id": request_id(),
    }
    answer = Response(json.dumps(body), status=status, content_type="application/problem+json")
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="rekollect"'
    if status in (429, 503):
        answer.headers["Retry-After"] = str(math.ceil((error.retry_after_milliseconds or 2000) / 1000))
    return answer


def problem_status(error: ServiceError) -> int:
    """Give the HTTP status of an error under /v1."""
    if error.code == "ProvisionedThroughputExceededException":
        return 429
    if error.code == "ThrottlingException":
        return 503 if error.unavailable else 429
    return _PROBLEM_STATUS.get(error.code, 400)
