"""/v1/schedules: what an account has happen by itself, when it last did, and when it will."""

from flask import Blueprint, Response, request

from app.api import auth
from app.api.context import Context, context
from app.api.documents import answer, read_members, read_page
from app.api.errors import problem
from app.domain.caller import Caller
from app.domain.schedules import CHANGEABLE, MEMBERS, NEEDS, Kind, Schedule, read_changes, read_new
from app.errors import ServiceError
from app.services import schedules

blueprint = Blueprint("schedules", __name__, url_prefix="/v1/schedules")


@blueprint.errorhandler(ServiceError)
def _service_error(error: ServiceError) -> Response:
    return problem(error)


@blueprint.post("")
def create() -> Response:
    """Make a schedule."""
    shared, caller = _admit()
    values = read_new(read_members(MEMBERS))
    _check_allowed(caller, values["kind"], values["settings"])
    document = schedules.create(shared.database, caller.account_id, values, caller.actor)
    return answer(document, 201, Location=document["Links"]["Self"])


@blueprint.get("")
def list_page() -> Response:
    """List the account's schedules, newest first."""
    shared, caller = _admit()
    page = read_page("Schedules")
    found = schedules.list_page(shared.database, caller.account_id, before=page.before, limit=page.limit)
    return answer(page.show(found, "ScheduleId"))


@blueprint.get("/<schedule_id>")
def show(schedule_id: str) -> Response:
    """Show a schedule with its newest ticks."""
    shared, caller = _admit()
    return answer(schedules.get(shared.database, caller.account_id, schedule_id))


@blueprint.patch("/<schedule_id>")
def change(schedule_id: str) -> Response:
    """Set what the body names; what a schedule does is said once, when it is made."""
    shared, caller = _admit()
    members = read_members(CHANGEABLE)
    kind = _check_stored(shared, caller, schedule_id).kind
    changes = read_changes(members, kind)
    if "settings" in changes:
        _check_allowed(caller, kind, changes["settings"])
    return answer(schedules.change(shared.database, caller.account_id, schedule_id, changes, caller.actor))


@blueprint.delete("/<schedule_id>")
def delete(schedule_id: str) -> Response:
    """Delete a schedule with its ticks; what it did stays done."""
    shared, caller = _admit()
    read_members()
    schedules.delete(shared.database, caller.account_id, schedule_id, caller.actor)
    return Response(status=204)


@blueprint.post("/<schedule_id>/run")
def run(schedule_id: str) -> Response:
    """Queue a run now."""
    shared, caller = _admit()
    read_members()
    _check_stored(shared, caller, schedule_id)
    tick = schedules.run_now(shared.database, shared.doorbell, caller.account_id, schedule_id, caller.actor)
    return answer(tick, 202)


def _admit() -> tuple[Context, Caller]:
    shared = context()
    return shared, auth.schedule_manager(request, shared)


def _check_stored(shared: Context, caller: Caller, schedule_id: str) -> Schedule:
    """Give a schedule; refuse a key that may not do itself what it does: to run it or to set its times is no less."""
    schedule = schedules.get_stored(shared.database, caller.account_id, schedule_id)
    _check_allowed(caller, schedule.kind, schedule.settings)
    return schedule


def _check_allowed(caller: Caller, kind: Kind, settings: dict[str, object]) -> None:
    """Refuse a key that may not do itself what the schedule would do for it."""
    for operation in NEEDS[kind]:
        caller.check_allowed(operation, str(settings["CollectionId"]))
