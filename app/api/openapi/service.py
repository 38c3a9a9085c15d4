"""What is not under /v1: the AWS wire on POST /, and the probes."""

from typing import Any

from app.api.errors import AWS_JSON
from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.api.openapi.parameters import REQUEST_ID
from app.api.problems import MAX_BODY_BYTES
from app.service_model import service_model
from app.service_model.json_schema import Schema, reference

_ID = {REQUEST_ID: {"$ref": f"#/components/headers/{REQUEST_ID}"}}

_WIRE_TEXT = (
    "What boto3 and the other AWS SDKs speak: the header `X-Amz-Target` names the operation, the body is its input, and the "
    "signature covers both. An operation on an image waits for its job. The input is that of a job's `Input`, but an image "
    "has no `Url` here. A proxy may put a path in front."
)


def _wire() -> dict[str, Any]:
    outputs = [service_model().operation_model(name).output_shape.name for name in words.OPERATIONS]
    inputs = [service_model().operation_model(name).input_shape.name for name in words.OPERATIONS]
    error = {AWS_JSON: {"schema": reference("AwsError")}}
    failed = {name: {"$ref": f"#/components/headers/{name}"} for name in ("x-amzn-ErrorType", "x-amz-retry-after")}
    return {
        "operationId": "call",
        "tags": ["AWS wire"],
        "summary": "Call one operation, as the AWS SDKs do",
        "description": _WIRE_TEXT,
        "security": [{"sigv4": []}],
        "parameters": [{"$ref": "#/components/parameters/X-Amz-Target"}],
        "requestBody": {"required": True, "content": {AWS_JSON: {"schema": _any_of(inputs)}}},
        "responses": {
            "200": {"description": "The output.", "headers": _ID, "content": {AWS_JSON: {"schema": _any_of(outputs)}}},
            "400": {"description": "Refused, as AWS would.", "headers": _ID | failed, "content": error},
            "413": {"description": f"The body is larger than {MAX_BODY_BYTES // 2**20} MB; the answer has none."},
            "500": {"description": "Temporarily unable; SDKs try again.", "headers": _ID | failed, "content": error},
        },
    }


def _any_of(names: list[str]) -> Schema:
    return {"anyOf": [reference(name) for name in names]}


def _probe(name: str, text: str, *statuses: tuple[int, str]) -> dict[str, Any]:
    content = {"application/json": {"schema": reference("ProbeStatus")}}
    return {
        "operationId": name,
        "tags": ["Probes"],
        "summary": text,
        "security": [],
        "responses": {str(status): {"description": meaning, "content": content} for status, meaning in statuses},
    }


def paths() -> dict[str, Any]:
    """Give the paths outside /v1."""
    ready = (200, "Jobs can be committed; `degraded` while Redis is away: slower, nothing lost.")
    return {
        "/": {"post": _wire()},
        "/livez": {"get": _probe("live", "Say that the process answers", (200, "It does."))},
        "/readyz": {"get": _probe("ready", "Say whether jobs can be committed", ready, (503, "They cannot."))},
    }


def schemas() -> dict[str, Schema]:
    """Give their schemas."""
    return {
        "AwsError": m.answered(
            "__type",
            "An error of the AWS wire.",
            __type=m.text(),
            message=m.text(),
            Code=m.text(),
            Logref=m.text(),
            Message=m.text(),
        ),
        "ProbeStatus": m.answered("status", status=m.text(), postgres=m.text(), redis=m.text()),
    }
