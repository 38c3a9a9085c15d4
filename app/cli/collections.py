"""`rekollect collections`: a collection and how it is searched, over HTTP."""

import argparse
import sys
import time
from typing import Any

from app.cli.client import add_options, connect, segment
from app.cli.jobs import print_document
from app.domain.search_modes import IndexStatus, SearchMode

_LOOK_EVERY_SECONDS = 2.0


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect collections`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    showing = actions.add_parser("show", help="show a collection, and what its approximate index is worth")
    showing.set_defaults(run=show)
    setting = actions.add_parser("set", help="say how a collection is to be searched")
    setting.add_argument("--search-mode", choices=list(SearchMode), required=True)
    setting.add_argument("--wait", action="store_true", help="until its index is built and measured")
    setting.set_defaults(run=set_)
    for action in actions.choices.values():
        action.add_argument("collection")
        add_options(action)


def show(arguments: argparse.Namespace) -> int:
    """Show a collection."""
    print_document(arguments, connect(arguments).call("GET", _path(arguments)))
    return 0


def set_(arguments: argparse.Namespace) -> int:
    """Say how a collection is to be searched."""
    client = connect(arguments)
    document = client.call("PATCH", _path(arguments), {"SearchMode": arguments.search_mode})
    while arguments.wait and _is_under_way(document):
        index = document["Index"]
        print(f"{index['Built']} of {index['Buckets']} search partitions indexed", file=sys.stderr)
        time.sleep(_LOOK_EVERY_SECONDS)
        document = client.call("GET", _path(arguments))
    print_document(arguments, document)
    return 0


def _is_under_way(document: dict[str, Any]) -> bool:
    """Tell whether an index is being built or has yet to be measured; one that waits for faces may do so for ever."""
    index = document.get("Index")
    return index is not None and index["Status"] != IndexStatus.WAITING and "Measured" not in index


def _path(arguments: argparse.Namespace) -> str:
    return f"/v1/collections/{segment(arguments.collection)}"
