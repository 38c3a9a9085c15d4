"""Parameters and headers, described once and referred to by name."""

from typing import Any

from app.api.openapi import vocabulary as words
from app.service_model import TARGET_PREFIX
from app.service_model.json_schema import Schema


def _path(name: str, text: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "description": text, "schema": {"type": "string"}}


def _query(name: str, text: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": text, "schema": schema}


def _header(name: str, text: str, schema: Schema) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": text, "schema": schema}


#: The header of every answer.
REQUEST_ID = "x-amzn-RequestId"

_WAIT = "Seconds to wait for the end of the job"

PARAMETERS: dict[str, dict[str, Any]] = {
    "JobId": _path("JobId", "The job."),
    "BatchId": _path("BatchId", "The batch."),
    "OfCollection": _path("CollectionId", "The collection."),
    "EndpointId": _path("EndpointId", "The webhook endpoint."),
    "DeliveryId": _path("DeliveryId", "The delivery."),
    "ScheduleId": _path("ScheduleId", "The schedule."),
    "wait": _query(
        "wait",
        f"{_WAIT}; above {words.LONGEST_WAIT_SECONDS} counts as {words.LONGEST_WAIT_SECONDS}.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999, "default": 0},
    ),
    "MaxResults": _query(
        "MaxResults",
        "How many to show on one page.",
        {"type": "integer", "minimum": 1, "maximum": words.LARGEST_PAGE, "default": words.DEFAULT_PAGE},
    ),
    "NextToken": _query(
        "NextToken", "The `NextToken` of the page before.", {"type": "string", "minLength": 1, "maxLength": 255}
    ),
    "Status": _query("Status", "Only jobs in this status.", {"type": "string", "enum": words.STATUSES}),
    "Operation": _query("Operation", "Only jobs of this operation.", {"type": "string", "enum": words.OPERATIONS}),
    "CollectionId": _query("CollectionId", "Only jobs on this collection.", words.COLLECTION_ID),
    "OfEndpoint": _query("EndpointId", "Only deliveries to this endpoint.", {"type": "string", "format": "uuid"}),
    "OfJob": _query("JobId", "Only deliveries about this job.", {"type": "string", "format": "uuid"}),
    "OfEvent": _query("EventType", "Only deliveries of this type of event.", {"type": "string", "enum": words.EVENTS}),
    "DeliveryStatus": _query(
        "Status", "Only deliveries in this status.", {"type": "string", "enum": words.DELIVERY_STATUSES}
    ),
    "AuditedCollection": _query("CollectionId", "Only what was done to this collection.", words.COLLECTION_ID),
    "AuditedOperation": _query("Operation", "Only this operation.", {"type": "string", "enum": words.AUDITED}),
    "AuditedKey": _query(
        "AccessKeyId", "Only what was done with this key.", {"type": "string", "pattern": f"^{words.ACCESS_KEY_ID}$"}
    ),
    "Since": _query("Since", "From this time on.", {"type": "string", "format": "date-time"}),
    "Until": _query("Until", "Before this time.", {"type": "string", "format": "date-time"}),
    "after": _query(
        "after",
        "The `Next-After` or the `Cursor` read last; 0 begins.",
        {"type": "integer", "minimum": 0, "maximum": 999_999_999_999, "default": 0},
    ),
    "MaxLines": _query(
        "MaxResults",
        f"How many lines to read, {words.LARGEST_ANSWER:,} at most, and so many where it is absent.",
        {"type": "integer", "minimum": 1, "maximum": 999_999_999_999},
    ),
    "BatchOperation": _query(
        "Operation", "The operation of uploaded lines.", {"type": "string", "enum": words.BATCH_OPERATIONS}
    ),
    "Defaults": _query("Defaults", "What uploaded items share, as JSON.", {"type": "string"}),
    "Token": _query(
        "ClientRequestToken",
        "The same as the header Idempotency-Key, for uploaded lines.",
        {"type": "string", "pattern": f"^{words.IDEMPOTENCY_KEY}$"},
    ),
    "Idempotency-Key": _header(
        "Idempotency-Key",
        "Makes a repeated submit give the job or batch of the first time; quotes around it are allowed.",
        {"type": "string", "pattern": f"^{words.IDEMPOTENCY_KEY}$"},
    ),
    "Prefer": _header(
        "Prefer",
        f"`wait=N` holds the answer until the job is done, {words.LONGEST_WAIT_SECONDS} seconds at most.",
        {"type": "string", "pattern": "^wait=[0-9]{1,9}$", "examples": ["wait=10"]},
    ),
    "If-None-Match": _header(
        "If-None-Match",
        "The `ETag` of an earlier answer: where nothing has changed, there is no body.",
        {"type": "string"},
    ),
    "X-Amz-Target": _header(
        "X-Amz-Target",
        "Which operation is called.",
        {"type": "string", "enum": [TARGET_PREFIX + name for name in words.OPERATIONS]},
    )
    | {"required": True},
}

HEADERS: dict[str, dict[str, Any]] = {
    "Location": {"description": "The path of what was made.", "schema": {"type": "string", "format": "uri-reference"}},
    "Retry-After": {"description": "Seconds after which to come again.", "schema": {"type": "integer", "minimum": 1}},
    "ETag": {"description": "Changes when the job does.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {
        "description": "There where the idempotency key was known and the job is that of the first time.",
        "schema": {"type": "string", "const": "true"},
    },
    "Preference-Applied": {
        "description": "The wait that was granted, as `wait=10`.",
        "schema": {"type": "string", "pattern": "^wait=[0-9]+$"},
    },
    "Next-After": {
        "description": "Where to read on, as `after`: everything up to there is in this answer.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Batch-Status": {
        "description": "The status of the batch when the answer was begun.",
        "schema": {"type": "string", "enum": words.BATCH_STATUSES},
    },
    "WWW-Authenticate": {"description": "How to authenticate.", "schema": {"type": "string"}},
    REQUEST_ID: {"description": "The id of this request.", "schema": {"type": "string"}},
    "x-amzn-ErrorType": {"description": "The code of the error.", "schema": {"type": "string"}},
    "x-amz-retry-after": {
        "description": "Milliseconds after which to try again, where the call was throttled.",
        "schema": {"type": "integer", "minimum": 0},
    },
}
