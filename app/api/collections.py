"""/v1/collections/{id}: a collection, and how it is searched.

A key needs DescribeCollection on the collection to look, and SetSearchMode to change it.
"""

import re

from flask import Blueprint, Response, request

from app.api import auth
from app.api.context import Context, context
from app.api.documents import answer, read_members
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.scopes import SEARCH_MODE
from app.domain.search_modes import read_mode
from app.errors import CollectionNotFound, ServiceError, ValidationError
from app.services.search_modes import SearchModes

_COLLECTION_ID = re.compile(r"[a-zA-Z0-9_.\-]{1,255}")

blueprint = Blueprint("collections", __name__, url_prefix="/v1/collections")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.get("/<collection_id>")
def show(collection_id: str) -> Response:
    """Show a collection: what it holds, how it is searched, and what its approximate index is worth."""
    shared, caller = admit(collection_id, "DescribeCollection")
    return answer(_modes(shared, caller).get(caller.account_id, collection_id))


@blueprint.patch("/<collection_id>")
def change(collection_id: str) -> Response:
    """Say how a collection is to be searched."""
    shared, caller = admit(collection_id, SEARCH_MODE)
    members = read_members({"SearchMode"})
    if "SearchMode" not in members:
        raise ValidationError("SearchMode is missing.")
    return answer(_modes(shared, caller).change(caller.account_id, collection_id, read_mode(members["SearchMode"])))


def admit(collection_id: str, operation: str) -> tuple[Context, Caller]:
    """Say who asks for a collection, if the key may; raises AccessDenied, CollectionNotFound."""
    shared = context()
    auth.require_credentials(request)
    caller = auth.caller(request, request.get_data(), shared)
    caller.check_allowed(operation, collection_id)
    if not _COLLECTION_ID.fullmatch(collection_id):  # no collection has such a name
        raise CollectionNotFound(collection_id)
    return shared, caller


def _modes(shared: Context, caller: Caller) -> SearchModes:
    return SearchModes(shared.database, own_bucket_faces=shared.settings.own_bucket_faces, actor=caller.actor)
