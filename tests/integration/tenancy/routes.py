"""Every route that needs a key: the scope it asks for, and a request to it that would do something.

A route that is not in this list fails the tests: whoever adds one says here what it needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.domain.scopes import MANAGE_SCHEDULES, MANAGE_WEBHOOKS, READ_AUDIT_LOG, REPROCESS, SEARCH_MODE
from tests.integration.tenancy.web import Call, as_text
from tests.integration.tenancy.worlds import World

Ids = Mapping[str, str]

#: Open to everybody: they tell nothing of any account.
OPEN = frozenset({
    "GET /", "OPTIONS /", "GET /livez", "GET /readyz", "GET /openapi.json", "GET /docs", "GET /docs/style.css",
    "GET /docs/problems", "GET /docs/problems/<code>",
})  # fmt: skip

#: The wire of AWS: its operations are listed by themselves.
AWS = frozenset({"POST /", "POST /<prefix:prefix>"})


@dataclass(frozen=True)
class Route:
    """What a key needs for a route, and what is sent to it; a list that shows only what the key may see needs nothing."""

    needs: str | None
    query: Callable[[Ids], str] = lambda ids: ""
    body: Callable[[Ids], Any] = lambda ids: None


def _job(ids: Ids) -> Any:
    webhook = {"Webhook": {"EndpointId": ids["endpoint_id"]}, "ClientRequestToken": ids["request_token"]}
    return {"Operation": "DescribeCollection", "Input": {"CollectionId": ids["collection_id"]}, **webhook}


def _batch(ids: Ids) -> Any:
    items = [{"CustomId": "a", "Input": {"Image": {"Url": "https://example.com/a.jpg"}}}]
    webhook = {"Webhook": {"EndpointId": ids["endpoint_id"]}, "ClientRequestToken": ids["request_token"]}
    return {"Operation": "IndexFaces", "Defaults": {"CollectionId": ids["collection_id"]}, "Items": items, **webhook}


def _schedule(ids: Ids) -> Any:
    settings = {"CollectionId": ids["collection_id"], "Days": 30}
    return {"Name": ids["collection_id"], "Kind": "RETENTION", "Cron": "0 3 * * *", "Settings": settings}


ROUTES = {
    "POST /v1/jobs": Route("DescribeCollection", body=_job),
    "GET /v1/jobs": Route(
        None, query=lambda ids: f"?CollectionId={ids['collection_id']}&NextToken={ids['jobs_token']}"
    ),
    "GET /v1/jobs/<job_id>": Route("IndexFaces"),
    "POST /v1/jobs/<job_id>/cancel": Route("IndexFaces"),
    "POST /v1/jobs/<job_id>/retry": Route("IndexFaces"),
    "POST /v1/batches": Route("IndexFaces", body=_batch),
    "GET /v1/batches": Route(None, query=lambda ids: f"?NextToken={ids['batches_token']}"),
    "GET /v1/batches/<batch_id>": Route("IndexFaces"),
    "GET /v1/batches/<batch_id>/results": Route("IndexFaces"),
    "GET /v1/batches/<batch_id>/failures": Route("IndexFaces"),
    "POST /v1/batches/<batch_id>/cancel": Route("IndexFaces"),
    "POST /v1/batches/<batch_id>/pause": Route("IndexFaces"),
    "POST /v1/batches/<batch_id>/resume": Route("IndexFaces"),
    "POST /v1/batches/<batch_id>/retry-failed": Route("IndexFaces"),
    "GET /v1/collections/<collection_id>": Route("DescribeCollection"),
    "PATCH /v1/collections/<collection_id>": Route(SEARCH_MODE, body=lambda ids: {"SearchMode": "approximate"}),
    "POST /v1/collections/<collection_id>/reprocess": Route(REPROCESS, body=lambda ids: {"FaceModelVersion": "2.0"}),
    "GET /v1/collections/<collection_id>/reprocess": Route("DescribeCollection"),
    "GET /v1/collections/<collection_id>/reprocess/failures": Route("DescribeCollection"),
    "POST /v1/collections/<collection_id>/reprocess/cancel": Route(REPROCESS),
    "POST /v1/collections/<collection_id>/reprocess/rollback": Route(REPROCESS),
    "POST /v1/collections/<collection_id>/reprocess/finish": Route(REPROCESS),
    "GET /v1/collections/<collection_id>/crops": Route("DescribeCollection"),
    "PUT /v1/collections/<collection_id>/crops": Route(REPROCESS, body=lambda ids: {"KeepCrops": True}),
    "DELETE /v1/collections/<collection_id>/crops": Route(REPROCESS),
    "GET /v1/audit": Route(READ_AUDIT_LOG, query=lambda ids: f"?CollectionId={ids['collection_id']}"),
    "POST /v1/schedules": Route(MANAGE_SCHEDULES, body=_schedule),
    "GET /v1/schedules": Route(MANAGE_SCHEDULES),
    "GET /v1/schedules/<schedule_id>": Route(MANAGE_SCHEDULES),
    "PATCH /v1/schedules/<schedule_id>": Route(MANAGE_SCHEDULES, body=lambda ids: {"Enabled": False}),
    "DELETE /v1/schedules/<schedule_id>": Route(MANAGE_SCHEDULES),
    "POST /v1/schedules/<schedule_id>/run": Route(MANAGE_SCHEDULES),
    "POST /v1/webhooks/endpoints": Route(MANAGE_WEBHOOKS, body=lambda ids: {"Url": "https://example.com/hook"}),
    "GET /v1/webhooks/endpoints": Route(MANAGE_WEBHOOKS),
    "GET /v1/webhooks/endpoints/<endpoint_id>": Route(MANAGE_WEBHOOKS),
    "PATCH /v1/webhooks/endpoints/<endpoint_id>": Route(MANAGE_WEBHOOKS, body=lambda ids: {"Description": "x"}),
    "DELETE /v1/webhooks/endpoints/<endpoint_id>": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/endpoints/<endpoint_id>/enable": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/endpoints/<endpoint_id>/disable": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/endpoints/<endpoint_id>/rotate-secret": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/endpoints/<endpoint_id>/test": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/endpoints/<endpoint_id>/replay": Route(
        MANAGE_WEBHOOKS, body=lambda ids: {"Since": "2026-01-01T00:00:00Z"}
    ),
    "GET /v1/webhooks/deliveries": Route(
        MANAGE_WEBHOOKS, query=lambda ids: f"?EndpointId={ids['endpoint_id']}&JobId={ids['job_id']}"
    ),
    "GET /v1/webhooks/deliveries/<delivery_id>": Route(MANAGE_WEBHOOKS),
    "POST /v1/webhooks/deliveries/<delivery_id>/redeliver": Route(MANAGE_WEBHOOKS),
}

#: What an input of an operation holds beside the collection, so that it is looked at no further than its scope.
INPUTS = {
    "CompareFaces": {"SourceImage": {"Bytes": "eA=="}, "TargetImage": {"Bytes": "eA=="}},
    "DetectFaces": {"Image": {"Bytes": "eA=="}},
    "IndexFaces": {"Image": {"Bytes": "eA=="}},
    "SearchFacesByImage": {"Image": {"Bytes": "eA=="}},
    "SearchUsersByImage": {"Image": {"Bytes": "eA=="}},
    "SearchUsers": {},
    "TagResource": {"Tags": {"a": "b"}},
    "UntagResource": {"TagKeys": ["a"]},
}
WITHOUT_COLLECTION = {"CompareFaces", "DetectFaces", "ListCollections"}
OF_ARN = {"TagResource", "UntagResource", "ListTagsForResource"}


def request_to(name: str, world: World) -> Call:
    """Make a request to a route about the newest of the account's own things."""
    method, _, path = name.partition(" ")
    ids = {kind: words[-1] for kind, words in world.ids.items()}
    for kind, word in ids.items():
        path = path.replace(f"<{kind}>", word)
    return Call(method, path + ROUTES[name].query(ids), as_text(ROUTES[name].body(ids)))


def input_of(operation: str, world: World) -> dict[str, object]:
    """Make a valid input of an operation on the account's own collection."""
    made: dict[str, object] = dict(INPUTS.get(operation, {}))
    if operation in OF_ARN:
        made["ResourceArn"] = world.ids["arn"][0]
    elif operation not in WITHOUT_COLLECTION:
        made["CollectionId"] = world.ids["collection_id"][0]
    if operation in {"CreateUser", "DeleteUser", "SearchUsers", "AssociateFaces", "DisassociateFaces"}:
        made["UserId"] = world.ids["user_id"][0]
    if operation in {"DeleteFaces", "AssociateFaces", "DisassociateFaces"}:
        made["FaceIds"] = world.ids["face_id"]
    if operation == "SearchFaces":
        made["FaceId"] = world.ids["face_id"][0]
    return made
