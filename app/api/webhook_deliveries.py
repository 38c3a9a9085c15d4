"""/v1/webhooks/deliveries: what was sent, to whom, what came of every attempt; and sending one again."""

from flask import Blueprint, Response, request

from app.api import auth
from app.api.context import Context, context
from app.api.documents import answer, read_members, read_page
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.deliveries import read_filter
from app.errors import ServiceError
from app.services import deliveries

blueprint = Blueprint("webhook_deliveries", __name__, url_prefix="/v1/webhooks/deliveries")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.get("")
def list_page() -> Response:
    """List the account's deliveries, newest first, as the filters say."""
    shared, caller = _admit()
    page = read_page("Deliveries", "EndpointId", "Status", "EventType", "JobId")
    wanted = read_filter(request.args)
    found = deliveries.list_page(shared.database, caller.account_id, wanted, before=page.before, limit=page.limit)
    return answer(page.show(found, "DeliveryId"))


@blueprint.get("/<delivery_id>")
def show(delivery_id: str) -> Response:
    """Show a delivery with its attempts."""
    shared, caller = _admit()
    return answer(deliveries.get(shared.database, caller.account_id, delivery_id))


@blueprint.post("/<delivery_id>/redeliver")
def redeliver(delivery_id: str) -> Response:
    """Send a delivery again: the same event, the same bytes."""
    shared, caller = _admit()
    read_members()
    document = deliveries.redeliver(shared.database, shared.doorbell, caller.account_id, delivery_id, caller.actor)
    return answer(document, 202, Location=document["Links"]["Self"])


def _admit() -> tuple[Context, Caller]:
    shared = context()
    return shared, auth.webhook_manager(request, shared)
