"""/v1/webhooks/endpoints: where an account's events are sent to, with secrets that are shown once."""

from flask import Blueprint, Response, request

from app.api import auth
from app.api.context import Context, context
from app.api.documents import answer, read_members, read_page
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.deliveries import REPLAY_MEMBERS
from app.domain.endpoints import DEFAULT_OVERLAP, MEMBERS, read_changes, read_new, read_overlap
from app.errors import ServiceError
from app.services import deliveries
from app.services.endpoints import Endpoints

blueprint = Blueprint("webhook_endpoints", __name__, url_prefix="/v1/webhooks/endpoints")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("")
def create() -> Response:
    """Make an endpoint and answer 201 with its secret, which is not shown again."""
    shared, caller = _admit()
    settings = read_new(read_members(MEMBERS), shared.settings.dial_allow)
    document, secret = _endpoints(shared, caller).create(caller.account_id, settings)
    location = f"/v1/webhooks/endpoints/{document['EndpointId']}"
    return answer({**document, "Secret": secret}, 201, Location=location)


@blueprint.get("")
def list_page() -> Response:
    """List the account's endpoints, newest first."""
    shared, caller = _admit()
    page = read_page("Endpoints")
    found = _endpoints(shared, caller).list_page(caller.account_id, before=page.before, limit=page.limit)
    return answer(page.show(found, "EndpointId"))


@blueprint.get("/<endpoint_id>")
def show(endpoint_id: str) -> Response:
    """Show an endpoint and how it has been doing."""
    shared, caller = _admit()
    return answer(_endpoints(shared, caller).get(caller.account_id, endpoint_id))


@blueprint.patch("/<endpoint_id>")
def change(endpoint_id: str) -> Response:
    """Set what the body names; null clears EventTypes and Headers."""
    shared, caller = _admit()
    changes = read_changes(read_members(MEMBERS), shared.settings.dial_allow)
    return answer(_endpoints(shared, caller).change(caller.account_id, endpoint_id, changes))


@blueprint.delete("/<endpoint_id>")
def delete(endpoint_id: str) -> Response:
    """Delete an endpoint with its secrets and its deliveries."""
    shared, caller = _admit()
    read_members()
    _endpoints(shared, caller).delete(caller.account_id, endpoint_id)
    return Response(status=204)


@blueprint.post("/<endpoint_id>/enable")
def enable(endpoint_id: str) -> Response:
    """Send to an endpoint again."""
    shared, caller = _admit()
    read_members()
    return answer(_endpoints(shared, caller).enable(caller.account_id, endpoint_id))


@blueprint.post("/<endpoint_id>/disable")
def disable(endpoint_id: str) -> Response:
    """Stop sending to an endpoint."""
    shared, caller = _admit()
    read_members()
    return answer(_endpoints(shared, caller).disable(caller.account_id, endpoint_id))


@blueprint.post("/<endpoint_id>/rotate-secret")
def rotate_secret(endpoint_id: str) -> Response:
    """Make a new secret, which is not shown again; webhooks carry the signatures of both for a while."""
    shared, caller = _admit()
    members = read_members({"OverlapSeconds"})
    overlap = read_overlap(members["OverlapSeconds"]) if "OverlapSeconds" in members else DEFAULT_OVERLAP
    return answer(_endpoints(shared, caller).rotate_secret(caller.account_id, endpoint_id, overlap))


@blueprint.post("/<endpoint_id>/test")
def send_test(endpoint_id: str) -> Response:
    """Send a test event; the delivery that is answered tells what came of it."""
    shared, caller = _admit()
    read_members()
    document = deliveries.send_test(shared.database, shared.doorbell, caller.account_id, endpoint_id, caller.actor)
    return answer(document, 202, Location=document["Links"]["Self"])


@blueprint.post("/<endpoint_id>/replay")
def replay(endpoint_id: str) -> Response:
    """Send the deliveries of a range of time again and say how many."""
    shared, caller = _admit()
    members = read_members(REPLAY_MEMBERS)
    replayed = deliveries.replay(
        shared.database, shared.doorbell, caller.account_id, endpoint_id, members, caller.actor
    )
    return answer(replayed, 202)


def _admit() -> tuple[Context, Caller]:
    shared = context()
    return shared, auth.webhook_manager(request, shared)


def _endpoints(shared: Context, caller: Caller) -> Endpoints:
    return Endpoints(shared.database, shared.cipher, caller.actor)
