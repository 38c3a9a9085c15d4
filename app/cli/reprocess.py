"""`rekollect reprocess` and `rekollect crops`: another face model version for a collection, over HTTP."""

import argparse
import sys
import time
from typing import Any

from app.cli import tables
from app.cli.client import Client, add_options, connect, segment
from app.cli.jobs import print_document, print_page
from app.domain.reprocesses import ON_FAILURE, Status

_LOOK_EVERY_SECONDS = 2.0

_ACTIONS = {
    "show": "show the newest reprocess",
    "cancel": "give a running reprocess up",
    "rollback": "go back to the former version",
    "finish": "keep the former version no longer",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect reprocess`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    starting = actions.add_parser("start", help="move a collection to another face model version")
    starting.add_argument("--to", required=True, metavar="VERSION", help="the version, as 2.0")
    starting.add_argument("--on-failure", choices=ON_FAILURE, default=ON_FAILURE[0], help="default %(default)s")
    starting.set_defaults(run=start)
    for name, help_ in _ACTIONS.items():
        action = actions.add_parser(name, help=help_)
        action.set_defaults(run=show if name == "show" else act)
    for name in ("start", "show"):
        actions.choices[name].add_argument("--wait", action="store_true", help="show progress until it has ended")
    listing = actions.add_parser("failures", help="list the faces that could not be embedded, with reasons")
    listing.add_argument("--limit", type=int, default=100, help="how many (default %(default)s)")
    listing.add_argument("--next", metavar="TOKEN", help="go on where the page before ended")
    listing.set_defaults(run=failures)
    for action in actions.choices.values():
        action.add_argument("collection")
        add_options(action)


def configure_crops(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect crops`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, help_, body in (
        ("show", "tell whether crops are kept, and how many there are", None),
        ("keep", "keep the crops of faces that are indexed from now on", {"KeepCrops": True}),
        ("drop", "keep those of new faces no more; those that there are stay", {"KeepCrops": False}),
    ):
        action = actions.add_parser(name, help=help_)
        action.set_defaults(run=crops, method="GET" if body is None else "PUT", body=body)
    actions.add_parser("purge", help="delete all crops").set_defaults(run=purge_crops)
    for action in actions.choices.values():
        action.add_argument("collection")
        add_options(action)


def start(arguments: argparse.Namespace) -> int:
    """Begin; the exit status is 1 where it was waited for and did not succeed."""
    client = connect(arguments)
    body = {"FaceModelVersion": arguments.to, "OnFailure": arguments.on_failure}
    return _print(arguments, client, client.call("POST", _path(arguments), body))


def show(arguments: argparse.Namespace) -> int:
    """Show the newest reprocess; the exit status is 1 where it did not succeed."""
    client = connect(arguments)
    return _print(arguments, client, client.call("GET", _path(arguments)))


def act(arguments: argparse.Namespace) -> int:
    """Cancel, go back, or end the time in which that is possible."""
    print_document(arguments, connect(arguments).call("POST", f"{_path(arguments)}/{arguments.action}"))
    return 0


def failures(arguments: argparse.Namespace) -> int:
    """List the faces that could not be embedded."""
    query = {"MaxResults": arguments.limit, "NextToken": arguments.next}
    page = connect(arguments).call("GET", f"{_path(arguments)}/failures", query=query)
    rows = [(failure["FaceId"], failure["Reason"], failure["Message"]) for failure in page["Failures"]]
    print_page(arguments, page, tables.table(("face", "reason", "message"), rows))
    return 0


def crops(arguments: argparse.Namespace) -> int:
    """Show or switch crops."""
    print_document(arguments, connect(arguments).call(arguments.method, _crops(arguments), arguments.body))
    return 0


def purge_crops(arguments: argparse.Namespace) -> int:
    """Delete crops, a bounded number in each call, until none is left."""
    client, deleted = connect(arguments), 0
    while True:
        answer = client.call("DELETE", _crops(arguments))
        deleted += answer["Deleted"]
        if not answer["Left"]:
            break
        print(f"{deleted} deleted, {answer['Left']} left", file=sys.stderr)
    print_document(arguments, {"Deleted": deleted, "Left": 0})
    return 0


def _crops(arguments: argparse.Namespace) -> str:
    return f"/v1/collections/{segment(arguments.collection)}/crops"


def _path(arguments: argparse.Namespace) -> str:
    return f"/v1/collections/{segment(arguments.collection)}/reprocess"


def _print(arguments: argparse.Namespace, client: Client, document: dict[str, Any]) -> int:
    while arguments.wait and not document["Done"]:
        _show_progress(document)
        time.sleep(_LOOK_EVERY_SECONDS)
        document = client.call("GET", _path(arguments))
    print_document(arguments, document)
    return 1 if document["Done"] and document["Status"] not in (Status.SUCCEEDED, Status.ROLLED_BACK) else 0


def _show_progress(document: dict[str, Any]) -> None:
    progress, eta = document["Progress"], document.get("EtaSeconds")
    left = "" if eta is None else f", {eta} s left"
    failed = f", {document['Failed']} failed" if document["Failed"] else ""
    print(f"{progress['Done']} of {progress['Total']} faces{failed}{left}", file=sys.stderr)
