"""Which problems a call may meet, and how they are written as responses: one for each status, with the codes that share it."""

from collections.abc import Iterable
from typing import Any

from app import errors
from app.api.errors import PROBLEMS_PATH
from app.api.openapi.parameters import REQUEST_ID
from app.api.problems import catalogue
from app.service_model.json_schema import Schema, reference

CONTENT_TYPE = "application/problem+json"

#: Whatever is called under /v1: the caller is checked, counted, and Postgres asked.
ANYWHERE = (
    errors.MissingAuthenticationToken,
    errors.IncompleteSignature,
    errors.UnrecognizedClient,
    errors.ExpiredToken,
    errors.InvalidSignature,
    errors.AccessDenied,
    errors.Throttled,
    errors.ProvisionedThroughputExceeded,
    errors.ServiceUnavailable,
    errors.InternalServerError,
)
WITH_BODY = (errors.SerializationError, errors.ValidationError)

MALFORMED, TOO_LARGE, NO_PATH = "BadRequest", "RequestEntityTooLarge", "NotFound"

SCHEMA: Schema = {
    "type": "object",
    "description": "An RFC 9457 problem; `code` is the name that AWS gives it.",
    "properties": {
        "type": {
            "type": "string",
            "format": "uri-reference",
            "description": "Where this type of problem is explained.",
        },
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string", "description": "What is wrong, for people."},
        "code": {"type": "string", "description": "What is wrong, for programs."},
        "retryable": {"type": "boolean", "description": "Whether the same call may succeed later."},
        "request_id": {"type": "string", "description": "Stands in the server's log, too."},
    },
    "required": ["type", "title", "status", "detail", "code", "retryable", "request_id"],
}

_HEADERS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}

_TEXTS = {
    400: "The request is wrong.",
    401: "The credentials are missing, unknown or expired.",
    403: "The signature does not match, or the key may not do this.",
    404: "There is no such thing in the caller's account.",
    409: "It cannot be done as things stand.",
    410: "It was there, and its retention is over.",
    413: "The body is too large.",
    422: "The idempotency key was used with another body.",
    429: "Called too often, or too many jobs at once; come again later.",
    500: "Our fault; the server's log has the details.",
    503: "Temporarily unable: Postgres is away, or jobs wait too long. Come again later.",
}


def responses(codes: Iterable[str]) -> dict[str, Any]:
    """Write the responses that stand for these codes, by status."""
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        for status in catalogue()[code].statuses:
            by_status.setdefault(status, []).append(code)
    return {str(status): _response(status, sharing) for status, sharing in sorted(by_status.items())}


def _response(status: int, codes: list[str]) -> dict[str, Any]:
    links = ", ".join(f"[{code}]({PROBLEMS_PATH}#{code})" for code in codes)
    narrowed = {"properties": {"status": {"const": status}, "code": {"enum": codes}}}
    names = (REQUEST_ID, *_HEADERS.get(status, ()))
    return {
        "description": f"{_TEXTS[status]} {links}",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {CONTENT_TYPE: {"schema": {"allOf": [reference("Problem"), narrowed]}}},
    }
