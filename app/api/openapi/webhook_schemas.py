"""Webhook endpoints and deliveries: what is taken and what is shown."""

from typing import Any

from app.api.openapi import members as m
from app.api.openapi import vocabulary as words
from app.service_model.json_schema import Schema, reference

_URL = m.said(m.text(1, words.MAX_URL, format="uri"), "Public, and https.")
_EVENTS: Schema = {
    **m.list_of(m.one_of(words.EVENTS), minItems=1),
    "type": ["array", "null"],
    "description": "Which types of events; absent or null: all of them.",
}
_DESCRIPTION = m.said(m.text(longest=words.MAX_DESCRIPTION, pattern=r"^[^\x00-\x1f\x7f]*$"), "On one line.")
_PAYLOAD = m.said(
    m.one_of(words.PAYLOADS), "REFERENCE: jobs without their results, which are fetched from `Links.Self`."
)
_HEADERS: Schema = {
    "type": ["object", "null"],
    "description": "Sent with every message; values are kept encrypted and never shown.",
    "maxProperties": words.MAX_HEADERS,
    "propertyNames": m.text(pattern=f"^{words.HEADER_NAME}$"),
    "additionalProperties": m.text(pattern=f"^{words.HEADER_VALUE}$"),
}
_SECRET = m.said(m.text(pattern="^whsec_"), "Verifies signatures; shown this once.")

_SETTINGS: dict[str, Schema] = {
    "Url": _URL,
    "EventTypes": _EVENTS,
    "Description": _DESCRIPTION,
    "Headers": _HEADERS,
    "Payload": _PAYLOAD,
}

_HEALTH = m.answered(
    "State ConsecutiveFailures",
    "OPEN: nothing is sent until `OpenUntil`, then one message to try; what waits is not lost.",
    State=m.one_of(words.CIRCUITS),
    ConsecutiveFailures=m.whole(),
    FailingSince=m.MOMENT,
    OpenUntil=m.MOMENT,
)

_ENDPOINT: dict[str, Schema] = {
    "EndpointId": m.ID,
    "Url": m.text(format="uri"),
    "EventTypes": m.said(m.list_of(m.text()), "Which events it gets; absent: all of them."),
    "Description": m.text(),
    "HeaderNames": m.list_of(m.text()),
    "Payload": m.one_of(words.PAYLOADS),
    "Status": m.one_of(words.ENDPOINT_STATUSES),
    "DisabledReason": m.said(
        m.one_of(words.DISABLED_REASONS), "By request, after days of failures, or because it answered 410."
    ),
    "DisabledAt": m.MOMENT,
    "CreatedAt": m.MOMENT,
    "UpdatedAt": m.MOMENT,
    "Health": _HEALTH,
}
_ENDPOINT_NEEDS = "EndpointId Url Status CreatedAt"

_ATTEMPT = m.answered(
    "Attempt Trigger StartedAt",
    Attempt=m.whole(1),
    Trigger=m.one_of(words.TRIGGERS),
    StartedAt=m.MOMENT,
    StatusCode=m.whole(100, 999),
    ErrorKind=m.said(m.text(), "Why there was no answer, or why it did not count, in a word."),
    Error=m.text(),
    Milliseconds=m.whole(),
    Address=m.said(m.text(), "The IP address that was dialled."),
    Answer=m.said(m.text(), f"The first {words.KEPT_ANSWER_BYTES} bytes of the answer's body, as text."),
)

_DELIVERY: dict[str, Schema] = {
    "DeliveryId": m.ID,
    "EventId": m.said(m.text(), "Is `webhook-id` of every attempt."),
    "EventType": m.one_of(words.EVENTS),
    "JobId": m.ID,
    "EndpointId": m.ID,
    "Url": m.text(format="uri"),
    "Status": m.said(
        m.one_of(words.DELIVERY_STATUSES), "FAILED: its schedule of attempts is used up, or it was ended."
    ),
    "Attempts": m.said(m.whole(), f"So many were made; a schedule has {words.MAX_ATTEMPTS}."),
    "NextAttemptAt": m.MOMENT,
    "CreatedAt": m.MOMENT,
    "FinishedAt": m.MOMENT,
    "Links": m.answered("Self", Self=m.PATH, Redeliver=m.PATH),
}
_DELIVERY_NEEDS = "DeliveryId EventId EventType Url Status Attempts CreatedAt Links"

_REPLAY = m.taken(
    "Since",
    f"A range of at most {words.MAX_REPLAY_DAYS} days; at most {words.MAX_REPLAYED} deliveries are sent again by one call.",
    Since=m.MOMENT,
    Until=m.said(m.MOMENT, "Absent: now."),
    EventTypes=_EVENTS,
    OnlyFailed=m.said(
        {**m.FLAG, "default": True},
        "Whether deliveries that succeeded stay alone. Those that wait for a retry are sent again in any case.",
    ),
)


def schemas() -> dict[str, Any]:
    """Give the schemas of webhook resources."""
    overlap = m.whole(0, words.LONGEST_OVERLAP_SECONDS, default=words.DEFAULT_OVERLAP_SECONDS)
    return {
        "WebhookEndpointCreation": m.taken("Url", **_SETTINGS),
        "WebhookEndpointChange": m.taken("", **_SETTINGS),
        "WebhookEndpoint": m.answered(_ENDPOINT_NEEDS, **_ENDPOINT),
        "NewWebhookEndpoint": m.answered(f"{_ENDPOINT_NEEDS} Secret", **_ENDPOINT, Secret=_SECRET),
        "WebhookEndpointPage": m.page_of("Endpoints", "WebhookEndpoint"),
        "SecretRotation": m.taken("", OverlapSeconds=m.said(overlap, "How long earlier secrets still sign.")),
        "RotatedSecret": m.answered(
            "EndpointId Secret", EndpointId=m.ID, Secret=_SECRET, PreviousSecretsExpireAt=m.MOMENT
        ),
        "Replay": _REPLAY,
        "Replayed": m.answered(
            "Deliveries",
            Deliveries=m.whole(),
            ReplayedUntil=m.said(m.MOMENT, "There may be more: go on with this as `Since`."),
        ),
        "WebhookDelivery": m.answered(_DELIVERY_NEEDS, **_DELIVERY),
        "WebhookDeliveryWithLog": m.answered(
            f"{_DELIVERY_NEEDS} AttemptLog", **_DELIVERY, AttemptLog=m.list_of(reference("WebhookAttempt"))
        ),
        "WebhookDeliveryPage": m.page_of("Deliveries", "WebhookDelivery"),
        "WebhookAttempt": _ATTEMPT,
    }
