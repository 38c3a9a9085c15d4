"""Webhook endpoints and deliveries: their routes."""

from app import errors
from app.api.openapi.problems import WITH_BODY
from app.api.openapi.route import JSON, Answer, Route
from app.service_model.json_schema import reference

ENDPOINTS, DELIVERIES = "Webhook endpoints", "Webhook deliveries"

_ENDPOINT, _DELIVERY = reference("WebhookEndpoint"), reference("WebhookDelivery")
_NOT_FOUND = (errors.ResourceNotFound,)
_NO_BODY = WITH_BODY  # a body that is sent where none is wanted has to be an empty object

_OF_ENDPOINTS = [
    Route(
        "POST /v1/webhooks/endpoints",
        "createEndpoint",
        ENDPOINTS,
        "Make an endpoint",
        {
            201: Answer(
                "The endpoint with its secret, which is not shown again.",
                reference("NewWebhookEndpoint"),
                ("Location",),
            )
        },
        body={JSON: reference("WebhookEndpointCreation")},
        errors=(errors.ServiceQuotaExceeded,),
    ),
    Route(
        "GET /v1/webhooks/endpoints",
        "listEndpoints",
        ENDPOINTS,
        "List endpoints",
        {200: Answer("One page.", reference("WebhookEndpointPage"))},
        parameters=("MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    ),
    Route(
        "GET /v1/webhooks/endpoints/{EndpointId}",
        "getEndpoint",
        ENDPOINTS,
        "Show an endpoint",
        {200: Answer("The endpoint, and how it has been doing.", _ENDPOINT)},
        parameters=("EndpointId",),
        errors=_NOT_FOUND,
    ),
    Route(
        "PATCH /v1/webhooks/endpoints/{EndpointId}",
        "updateEndpoint",
        ENDPOINTS,
        "Change an endpoint",
        {200: Answer("The endpoint as it is now.", _ENDPOINT)},
        "Members that are absent stay as they are.",
        ("EndpointId",),
        {JSON: reference("WebhookEndpointChange")},
        _NOT_FOUND,
    ),
    Route(
        "DELETE /v1/webhooks/endpoints/{EndpointId}",
        "deleteEndpoint",
        ENDPOINTS,
        "Delete an endpoint",
        {204: Answer("It is gone, and its deliveries with it.")},
        parameters=("EndpointId",),
        errors=(*_NOT_FOUND, *_NO_BODY),
    ),
    Route(
        "POST /v1/webhooks/endpoints/{EndpointId}/rotate-secret",
        "rotateSecret",
        ENDPOINTS,
        "Make a new secret",
        {200: Answer("The new secret, which is not shown again.", reference("RotatedSecret"))},
        "Messages are signed with the earlier secrets too until they expire; an overlap of 0 ends them at once.",
        ("EndpointId",),
        {JSON: reference("SecretRotation")},
        body_may_lack=True,
        errors=_NOT_FOUND,
    ),
    Route(
        "POST /v1/webhooks/endpoints/{EndpointId}/test",
        "testEndpoint",
        ENDPOINTS,
        "Send a test event",
        {202: Answer("The delivery, which is on its way.", _DELIVERY, ("Location",))},
        "It goes first, even where the circuit is open, and is attempted once; a failure is held against nobody.",
        parameters=("EndpointId",),
        errors=(*_NOT_FOUND, *_NO_BODY, errors.Conflict),
    ),
    Route(
        "POST /v1/webhooks/endpoints/{EndpointId}/disable",
        "disableEndpoint",
        ENDPOINTS,
        "Stop sending",
        {200: Answer("The endpoint as it is now.", _ENDPOINT)},
        parameters=("EndpointId",),
        errors=(*_NOT_FOUND, *_NO_BODY),
    ),
    Route(
        "POST /v1/webhooks/endpoints/{EndpointId}/enable",
        "enableEndpoint",
        ENDPOINTS,
        "Send again",
        {200: Answer("The endpoint as it is now.", _ENDPOINT)},
        "One message goes first; when it was taken, the others follow.",
        ("EndpointId",),
        errors=(*_NOT_FOUND, *_NO_BODY),
    ),
    Route(
        "POST /v1/webhooks/endpoints/{EndpointId}/replay",
        "replayDeliveries",
        ENDPOINTS,
        "Send a range of events again",
        {202: Answer("How many deliveries are sent again.", reference("Replayed"))},
        parameters=("EndpointId",),
        body={JSON: reference("Replay")},
        errors=(*_NOT_FOUND, errors.Conflict),
    ),
]

_OF_DELIVERIES = [
    Route(
        "GET /v1/webhooks/deliveries",
        "listDeliveries",
        DELIVERIES,
        "List deliveries",
        {200: Answer("One page; attempts are counted, not shown.", reference("WebhookDeliveryPage"))},
        parameters=("OfEndpoint", "DeliveryStatus", "OfEvent", "OfJob", "MaxResults", "NextToken"),
        errors=(errors.InvalidPaginationToken,),
    ),
    Route(
        "GET /v1/webhooks/deliveries/{DeliveryId}",
        "getDelivery",
        DELIVERIES,
        "Show a delivery with every attempt",
        {200: Answer("The delivery.", reference("WebhookDeliveryWithLog"))},
        parameters=("DeliveryId",),
        errors=_NOT_FOUND,
    ),
    Route(
        "POST /v1/webhooks/deliveries/{DeliveryId}/redeliver",
        "redeliver",
        DELIVERIES,
        "Send a delivery again",
        {202: Answer("The delivery, which is due now.", _DELIVERY, ("Location",))},
        "The same message with the same id; its schedule of attempts starts anew. One that is being sent is refused.",
        ("DeliveryId",),
        errors=(*_NOT_FOUND, *_NO_BODY, errors.Conflict),
    ),
]

ROUTES = [*_OF_ENDPOINTS, *_OF_DELIVERIES]
