"""Collections: create, describe, list, delete. Answered at once from Postgres."""

from typing import Any

from sqlalchemy.engine import Connection

from app.db import collections, face_models
from app.db.session import Row
from app.domain import pagination
from app.domain.caller import Caller
from app.errors import CollectionAlreadyExists, CollectionNotFound

Document = dict[str, Any]

_DEFAULT_PAGE = 1000


def get(connection: Connection, account_id: int, name: str) -> Row:
    """Find a collection of an account, or raise CollectionNotFound."""
    row = collections.find(connection, account_id, name)
    if row is None:
        raise CollectionNotFound(name)
    return row


def create_collection(connection: Connection, caller: Caller, request: Document) -> Document:
    """Make an empty collection on the face model version that new ones have."""
    name = request["CollectionId"]
    version = face_models.get_default(connection).version
    if not collections.insert(connection, caller.account_id, name, version, request.get("Tags", {})):
        raise CollectionAlreadyExists(name)
    # AWS leaves the «arn:» prefix out here, and only here.
    arn = caller.collection_arn(name).removeprefix("arn:")
    return {"StatusCode": 200, "CollectionArn": arn, "FaceModelVersion": version}


def describe_collection(connection: Connection, caller: Caller, request: Document) -> Document:
    """Tell what a collection holds."""
    row = get(connection, caller.account_id, request["CollectionId"])
    return {
        "FaceCount": row.live_faces,
        "FaceModelVersion": row.model,
        "CollectionARN": caller.collection_arn(row.name),
        "CreationTimestamp": row.created_at,
        "UserCount": row.live_users,
    }


def list_collections(connection: Connection, caller: Caller, request: Document) -> Document:
    """List an account's collections in the order of their creation, a page at a time."""
    size = request.get("MaxResults") or _DEFAULT_PAGE
    after = pagination.read_number(request.get("NextToken"), "collections")
    rows = collections.list_page(connection, caller.account_id, after=after, limit=size + 1)
    page = rows[:size]
    return {
        "CollectionIds": [row.name for row in page],
        "FaceModelVersions": [row.model for row in page],
        "NextToken": pagination.token("collections", str(page[-1].collection_id)) if len(rows) > size else None,
    }


def delete_collection(connection: Connection, caller: Caller, request: Document) -> Document:
    """Delete a collection and all its faces."""
    if not collections.delete(connection, caller.account_id, request["CollectionId"]):
        raise CollectionNotFound(request["CollectionId"])
    return {"StatusCode": 200}
