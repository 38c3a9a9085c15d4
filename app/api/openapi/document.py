"""The OpenAPI document, put together once per process."""

from functools import lru_cache
from importlib.metadata import version
from typing import Any

from app.api.openapi import (
    audit,
    batches,
    collections,
    jobs,
    messages,
    reprocesses,
    schedules,
    service,
    webhook_schemas,
    webhooks,
)
from app.api.openapi import vocabulary as words
from app.api.openapi.parameters import HEADERS, PARAMETERS
from app.api.openapi.problems import SCHEMA as PROBLEM
from app.service_model import json_schema, service_model
from app.service_model.json_schema import Schema

#: Every route under /v1.
ROUTES = [
    *jobs.ROUTES,
    *batches.ROUTES,
    *collections.ROUTES,
    *reprocesses.ROUTES,
    *webhooks.ROUTES,
    *schedules.ROUTES,
    *audit.ROUTES,
]

_INFO = {
    "title": "Rekollect",
    "summary": "Self-hosted face search: the Rekognition wire, and jobs with signed webhooks.",
    "description": (
        "Every operation of the AWS wire can be submitted as a job. Errors under /v1 are `application/problem+json`, whose "
        "`code` is the AWS name. Objects that are answered may get more members in later versions."
    ),
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

_TAGS = {
    jobs.TAG: "Submit any operation, then poll, wait, or be told.",
    batches.TAG: "One operation over many pictures.",
    collections.TAG: "What a collection holds, and how it is searched.",
    reprocesses.TAG: "Move a collection to another face model version while it serves.",
    webhooks.ENDPOINTS: "Who is told of ends.",
    webhooks.DELIVERIES: "What was sent, each attempt, and sending again.",
    schedules.TAG: "What happens by itself, and when.",
    audit.TAG: "Who did what to which collection.",
    "Webhook messages": "What receivers get.",
    "AWS wire": "What boto3 speaks.",
    "Probes": "For load balancers and supervisors.",
}

_SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The API key that comes with an access key; one with a session token has none.",
    },
    "sigv4": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "AWS Signature Version 4 with the same access key, for the service `rekognition`.",
    },
}


@lru_cache(maxsize=1)
def document() -> dict[str, Any]:
    """Give the document; callers do not change it."""
    return {
        "openapi": "3.1.0",
        "info": {**_INFO, "version": version("rekollect")},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in _TAGS.items()],
        "security": [{"bearer": []}, {"sigv4": []}],
        "paths": _paths(),
        "webhooks": messages.webhooks(),
        "components": {
            "schemas": _schemas(),
            "parameters": PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": _SECURITY,
        },
    }


def _paths() -> dict[str, Any]:
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = route.document()
    return paths | service.paths()


def _schemas() -> dict[str, Schema]:
    ours = jobs.schemas() | batches.schemas() | collections.schemas() | reprocesses.schemas()
    ours |= webhook_schemas.schemas() | messages.schemas() | schedules.schemas() | audit.schemas() | service.schemas()
    return ours | {"Problem": PROBLEM} | _of_the_model()


def _of_the_model() -> dict[str, Schema]:
    model = service_model(extensions=True)
    operations = [model.operation_model(name) for name in words.OPERATIONS]
    found = json_schema.definitions(shape for one in operations for shape in (one.input_shape, one.output_shape))
    sources = found["Image"]["properties"]
    sources["Url"] = {**sources["Url"], "format": "uri"}
    # What the model leaves to prose.
    found["Image"]["oneOf"] = [{"required": [source]} for source in sources]
    found["S3Object"]["required"] = ["Bucket", "Name"]
    return found
