"""`rekollect webhooks`: who is told, what was sent, and sending it again, over HTTP; and the account's own secret."""

import argparse
from typing import Any

from app.cli import tables
from app.cli.client import add_options, connect, segment
from app.cli.jobs import pair, print_document, print_page, seconds
from app.cli.keys import configure_webhook_secret
from app.domain.deliveries import STATUSES
from app.domain.endpoints import PAYLOADS

_ENDPOINTS, _DELIVERIES = "/v1/webhooks/endpoints", "/v1/webhooks/deliveries"

#: Actions on one endpoint without further arguments: the end of the path, and what it does.
_SWITCHES = (
    ("test", "send a test event"),
    ("disable", "stop sending"),
    ("enable", "send again, one message first"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect webhooks`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("endpoints", help="list endpoints, or show one")
    listing.add_argument("endpoint_id", nargs="?")
    listing.set_defaults(run=endpoints)
    making = actions.add_parser("create", help="make an endpoint; its secret is shown once")
    making.add_argument("url", help="public and https")
    making.set_defaults(run=create)
    changing = actions.add_parser("update", help="change an endpoint")
    changing.add_argument("endpoint_id")
    changing.add_argument("--url", help="public and https")
    changing.set_defaults(run=update)
    for settable in (making, changing):
        _add_settings(settable)
    rotating = actions.add_parser("rotate", help="make a new secret, shown once")
    rotating.add_argument("endpoint_id")
    rotating.add_argument(
        "--overlap", type=seconds, metavar="SECONDS", help="how long earlier ones sign (default: a day)"
    )
    rotating.set_defaults(run=rotate)
    for name, help_ in _SWITCHES:
        switching = actions.add_parser(name, help=help_)
        switching.add_argument("endpoint_id")
        switching.set_defaults(run=switch)
    deleting = actions.add_parser("delete", help="delete an endpoint and its deliveries")
    deleting.add_argument("endpoint_id")
    deleting.set_defaults(run=delete)
    _configure_deliveries(actions)
    for action in actions.choices.values():
        add_options(action)
    configure_webhook_secret(actions)


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", nargs="+", metavar="TYPE", help="types it wants, as job.succeeded (default: all)")
    parser.add_argument("--description")
    parser.add_argument("--header", nargs="+", type=pair, metavar="NAME=VALUE", help="sent with every message")
    parser.add_argument("--payload", choices=PAYLOADS, help="REFERENCE leaves results out")


def _configure_deliveries(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    listing = actions.add_parser("deliveries", help="list deliveries, or show one with its attempts")
    listing.add_argument("delivery_id", nargs="?")
    listing.add_argument("--endpoint", metavar="ENDPOINT_ID")
    listing.add_argument("--status", choices=STATUSES)
    listing.add_argument("--event", metavar="TYPE")
    listing.add_argument("--job", metavar="JOB_ID")
    listing.set_defaults(run=deliveries)
    for paged in (listing, actions.choices["endpoints"]):
        paged.add_argument("--limit", type=int, default=50, help="how many (default %(default)s)")
        paged.add_argument("--next", metavar="TOKEN", help="go on where the page before ended")
    again = actions.add_parser("redeliver", help="send a delivery again")
    again.add_argument("delivery_id")
    again.set_defaults(run=redeliver)
    replaying = actions.add_parser("replay", help="send an endpoint's deliveries of a time again")
    replaying.add_argument("endpoint_id")
    replaying.add_argument("--since", required=True, metavar="TIME", help="as 2030-01-31T12:00:00Z")
    replaying.add_argument("--until", metavar="TIME", help="default: now")
    replaying.add_argument("--events", nargs="+", metavar="TYPE")
    replaying.add_argument("--all", action="store_true", help="those that succeeded, too")
    replaying.set_defaults(run=replay)


def endpoints(arguments: argparse.Namespace) -> int:
    """List endpoints, or show one."""
    client = connect(arguments)
    if arguments.endpoint_id is not None:
        print_document(arguments, client.call("GET", _endpoint(arguments)))
        return 0
    page = client.call("GET", _ENDPOINTS, query=_page(arguments))
    rows = [
        (
            one["EndpointId"],
            one["Status"] + (f" ({one['DisabledReason']})" if "DisabledReason" in one else ""),
            one["Health"]["State"],
            one["Health"]["ConsecutiveFailures"],
            " ".join(one.get("EventTypes", ["all"])),
            one["Url"],
        )
        for one in page["Endpoints"]
    ]
    titles = ("endpoint", "status", "circuit", "failures", "events", "url")
    print_page(arguments, page, tables.table(titles, rows))
    return 0


def create(arguments: argparse.Namespace) -> int:
    """Make an endpoint and show its secret."""
    document = connect(arguments).call("POST", _ENDPOINTS, _settings(arguments))
    return _print_with_secret(arguments, document)


def update(arguments: argparse.Namespace) -> int:
    """Change what was named."""
    print_document(arguments, connect(arguments).call("PATCH", _endpoint(arguments), _settings(arguments)))
    return 0


def rotate(arguments: argparse.Namespace) -> int:
    """Make a new secret and show it."""
    body = {} if arguments.overlap is None else {"OverlapSeconds": arguments.overlap}
    return _print_with_secret(arguments, connect(arguments).call("POST", f"{_endpoint(arguments)}/rotate-secret", body))


def switch(arguments: argparse.Namespace) -> int:
    """Test, disable or enable an endpoint."""
    print_document(arguments, connect(arguments).call("POST", f"{_endpoint(arguments)}/{arguments.action}"))
    return 0


def delete(arguments: argparse.Namespace) -> int:
    """Delete an endpoint."""
    connect(arguments).call("DELETE", _endpoint(arguments))
    print("{}" if arguments.json else "Deleted.")
    return 0


def deliveries(arguments: argparse.Namespace) -> int:
    """List deliveries, or show one with its attempts."""
    client = connect(arguments)
    if arguments.delivery_id is not None:
        return _print_delivery(arguments, client.call("GET", f"{_DELIVERIES}/{segment(arguments.delivery_id)}"))
    filters = {
        "EndpointId": arguments.endpoint,
        "Status": arguments.status,
        "EventType": arguments.event,
        "JobId": arguments.job,
    }
    page = client.call("GET", _DELIVERIES, query=filters | _page(arguments))
    rows = [
        (
            one["DeliveryId"],
            one["EventType"],
            one["Status"],
            one["Attempts"],
            tables.moment(one["CreatedAt"]),
            tables.moment(one.get("NextAttemptAt")),
            one["Url"],
        )
        for one in page["Deliveries"]
    ]
    titles = ("delivery", "event", "status", "attempts", "created", "next attempt", "url")
    print_page(arguments, page, tables.table(titles, rows))
    return 0


def _print_delivery(arguments: argparse.Namespace, delivery: dict[str, Any]) -> int:
    if arguments.json:
        print_document(arguments, delivery)
        return 0
    attempts = delivery.pop("AttemptLog")
    print(tables.lines(delivery) + "\n")
    rows = [
        (
            one["Attempt"],
            one["Trigger"],
            tables.moment(one["StartedAt"]),
            one.get("StatusCode"),
            one.get("Milliseconds"),
            one.get("Address"),
            " ".join(filter(None, (one.get("ErrorKind"), one.get("Error"), one.get("Answer")))),
        )
        for one in attempts
    ]
    print(tables.table(("attempt", "trigger", "started", "status", "ms", "address", "what came of it"), rows))
    return 0


def redeliver(arguments: argparse.Namespace) -> int:
    """Send a delivery again."""
    path = f"{_DELIVERIES}/{segment(arguments.delivery_id)}/redeliver"
    print_document(arguments, connect(arguments).call("POST", path))
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Send a range of deliveries again."""
    body = {"Since": arguments.since, "Until": arguments.until, "EventTypes": arguments.events}
    named: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
    answer = connect(arguments).call(
        "POST", f"{_endpoint(arguments)}/replay", {**named, "OnlyFailed": not arguments.all}
    )
    print_document(arguments, answer)
    return 0


def _endpoint(arguments: argparse.Namespace) -> str:
    return f"{_ENDPOINTS}/{segment(arguments.endpoint_id)}"


def _page(arguments: argparse.Namespace) -> dict[str, object]:
    return {"MaxResults": arguments.limit, "NextToken": arguments.next}


def _settings(arguments: argparse.Namespace) -> dict[str, Any]:
    members = {
        "Url": arguments.url,
        "EventTypes": arguments.events,
        "Description": arguments.description,
        "Headers": None if arguments.header is None else dict(arguments.header),
        "Payload": arguments.payload,
    }
    return {name: value for name, value in members.items() if value is not None}


def _print_with_secret(arguments: argparse.Namespace, document: dict[str, Any]) -> int:
    print_document(arguments, document)
    if not arguments.json:
        print("Keep the secret now; it is not shown again.")
    return 0
