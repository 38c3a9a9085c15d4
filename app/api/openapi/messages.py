"""What we send: webhook messages, as OpenAPI's `webhooks`."""

from typing import Any

from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.service_model.json_schema import Schema, reference

_DETAILS = (
    "Sent as [Standard Webhooks](https://www.standardwebhooks.com/) says, at least once, with the same `webhook-id` and "
    f"the same bytes each time; order is not promised. Above {words.MAX_MESSAGE_BYTES} bytes a job comes without its "
    "`Result`, and if need be without `Metadata` and `Defaults`: fetch it from `Links.Self`."
)
_HEADERS = {
    "webhook-id": "The id of the event, the same in every attempt.",
    "webhook-timestamp": "Seconds since 1970 at this attempt.",
    "webhook-signature": "`v1,` and the signature in base64; one for each live secret, separated by spaces.",
}
_RECEIVED = {
    "2XX": {"description": "Taken; this ends it."},
    "410": {"description": "Never again: the delivery ends, and its endpoint is disabled."},
    "default": {"description": f"Tried again, {words.MAX_ATTEMPTS} times in all."},
}


def _message(name: str, text: str, schema: str) -> dict[str, Any]:
    headers = [
        {"name": header, "in": "header", "required": True, "description": meaning, "schema": {"type": "string"}}
        for header, meaning in _HEADERS.items()
    ]
    return {
        "post": {
            "operationId": name,
            "tags": ["Webhook messages"],
            "summary": text,
            "description": _DETAILS,
            "security": [],
            "parameters": headers,
            "requestBody": {"required": True, "content": {"application/json": {"schema": reference(schema)}}},
            "responses": _RECEIVED,
        }
    }


def webhooks() -> dict[str, Any]:
    """Give the messages that we send."""
    return {
        "job": _message("jobEnded", "A job has ended", "JobMessage"),
        "batch": _message("batchEnded", "A batch has ended", "BatchMessage"),
        "reprocess": _message(
            "reprocessCompleted", "A move to another face model version has ended", "ReprocessMessage"
        ),
        "endpoint": _message("endpointEvent", "A test, or news of an endpoint", "EndpointMessage"),
    }


def schemas() -> dict[str, Schema]:
    """Give the schemas of messages."""
    return {
        "JobMessage": _envelope(words.JOB_EVENTS, reference("Job")),
        "BatchMessage": _envelope(words.BATCH_EVENTS, reference("Batch")),
        "ReprocessMessage": _envelope(words.REPROCESS_EVENTS, reference("Reprocess")),
        "EndpointMessage": _envelope(words.ENDPOINT_EVENTS, {"type": "object"}),
    }


def _envelope(types: list[str], data: Schema) -> Schema:
    return m.answered("type timestamp data", type=m.one_of(types), timestamp=m.MOMENT, data=data)
