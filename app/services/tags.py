"""Tags: small texts that an account hangs on its collections, by ARN."""

from collections.abc import Callable

from sqlalchemy.engine import Connection

from app.db import collections
from app.db.session import Row
from app.domain.caller import Caller
from app.errors import ResourceNotFound, ServiceQuotaExceeded
from app.services.collections import Document

#: What the service model allows in one request, and in the answer of ListTagsForResource.
MAX_TAGS = 200


def tag_resource(connection: Connection, caller: Caller, request: Document) -> Document:
    """Add tags, or replace those of the same key."""
    collection = _lock(connection, caller, request["ResourceArn"])
    tags = {**collection.tags, **request["Tags"]}
    if len(tags) > MAX_TAGS:
        raise ServiceQuotaExceeded(f"A resource can have at most {MAX_TAGS} tags.")
    collections.set_tags(connection, collection.collection_id, tags)
    return {}


def untag_resource(connection: Connection, caller: Caller, request: Document) -> Document:
    """Remove tags; keys that are not there are no error."""
    collection = _lock(connection, caller, request["ResourceArn"])
    tags = {key: value for key, value in collection.tags.items() if key not in request["TagKeys"]}
    collections.set_tags(connection, collection.collection_id, tags)
    return {}


def list_tags_for_resource(connection: Connection, caller: Caller, request: Document) -> Document:
    """Give all tags of a collection."""
    return {"Tags": _find(connection, caller, request["ResourceArn"], collections.find).tags}


def _lock(connection: Connection, caller: Caller, arn: str) -> Row:
    """Find a collection and lock its row: tags are changed as a whole."""
    return _find(connection, caller, arn, collections.lock_for_writing)


def _find(connection: Connection, caller: Caller, arn: str, look: Callable[[Connection, int, str], Row | None]) -> Row:
    """Look for the collection that an ARN of this account names, or raise ResourceNotFound."""
    name = caller.collection_of_arn(arn)
    row = None if name is None else look(connection, caller.account_id, name)
    if row is None:
        raise ResourceNotFound(f"The resource: {arn} does not exist")
    return row
