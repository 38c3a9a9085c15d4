"""/v1/collections/{id}/reprocess and /crops: moving a collection to another face model version, and what that is made from.

A key needs ReprocessCollection on the collection for what changes something, and DescribeCollection to look.
"""

from flask import Blueprint, Response

from app.api.collections import admit
from app.api.context import Context
from app.api.documents import answer, read_members, read_size
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.reprocesses import MEMBERS, read_request
from app.domain.scopes import REPROCESS
from app.errors import ServiceError, ValidationError
from app.services.crops import Crops
from app.services.reprocesses import Reprocesses

blueprint = Blueprint("reprocesses", __name__, url_prefix="/v1/collections/<collection_id>")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("/reprocess")
def start(collection_id: str) -> Response:
    """Begin to move a collection to another face model version."""
    shared, caller = admit(collection_id, REPROCESS)
    version, on_failure = read_request(read_members(MEMBERS))
    document = _reprocesses(shared, caller).start(caller.account_id, collection_id, version, on_failure)
    return answer(document, 202, Location=document["Links"]["Self"])


@blueprint.get("/reprocess")
def show(collection_id: str) -> Response:
    """Show the newest reprocess of a collection: progress, rate, and how long it may take."""
    shared, caller = admit(collection_id, "DescribeCollection")
    return answer(_reprocesses(shared, caller).get(caller.account_id, collection_id))


@blueprint.get("/reprocess/failures")
def failures(collection_id: str) -> Response:
    """List the faces that could not be embedded, with reasons."""
    shared, caller = admit(collection_id, "DescribeCollection")
    size, token = read_size()
    return answer(_reprocesses(shared, caller).failures(caller.account_id, collection_id, token=token, size=size))


@blueprint.post("/reprocess/cancel")
def cancel(collection_id: str) -> Response:
    """Give a running reprocess up; the collection stays as it was."""
    shared, caller = admit(collection_id, REPROCESS)
    read_members()
    return answer(_reprocesses(shared, caller).cancel(caller.account_id, collection_id))


@blueprint.post("/reprocess/rollback")
def rollback(collection_id: str) -> Response:
    """Go back to the former version, as long as it is kept."""
    shared, caller = admit(collection_id, REPROCESS)
    read_members()
    return answer(_reprocesses(shared, caller).rollback(caller.account_id, collection_id))


@blueprint.post("/reprocess/finish")
def finish(collection_id: str) -> Response:
    """Keep the former version no longer, before its time is over."""
    shared, caller = admit(collection_id, REPROCESS)
    read_members()
    return answer(_reprocesses(shared, caller).finish(caller.account_id, collection_id))


@blueprint.get("/crops")
def show_crops(collection_id: str) -> Response:
    """Tell whether aligned crops are kept, and how many are."""
    shared, caller = admit(collection_id, "DescribeCollection")
    return answer(_crops(shared, caller).get(caller.account_id, collection_id))


@blueprint.put("/crops")
def keep_crops(collection_id: str) -> Response:
    """Say whether crops of new faces are kept."""
    shared, caller = admit(collection_id, REPROCESS)
    keep = read_members({"KeepCrops"}).get("KeepCrops")
    if not isinstance(keep, bool):
        raise ValidationError("KeepCrops must be true or false.")
    return answer(_crops(shared, caller).keep(caller.account_id, collection_id, keep=keep))


@blueprint.delete("/crops")
def purge_crops(collection_id: str) -> Response:
    """Delete crops of a collection, as many as one call may; called until none is left it deletes them all."""
    shared, caller = admit(collection_id, REPROCESS)
    return answer(_crops(shared, caller).purge(caller.account_id, collection_id))


def _reprocesses(shared: Context, caller: Caller) -> Reprocesses:
    return Reprocesses(shared.database, shared.doorbell, caller.actor)


def _crops(shared: Context, caller: Caller) -> Crops:
    return Crops(shared.database, default=shared.settings.keep_crops, actor=caller.actor)
