"""`rekollect bench search`: what a search costs on this machine, exact and approximate, with FAISS beside it.

The work is the workers' code, in a process that this one becomes; it starts a Postgres of its own in a temporary folder.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from typing import NoReturn

from app.db.search_tables import LARGEST_DIMENSION

_MOST_FACES = 20_000_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add what can be measured."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    search = actions.add_parser("search", help="search made faces in every way there is, and print a table")
    search.add_argument(
        "--faces", type=_between(100, _MOST_FACES), default=100_000, metavar="N", help="how many (default %(default)s)"
    )
    search.add_argument(
        "--dimensions",
        type=_between(8, LARGEST_DIMENSION),
        default=128,
        metavar="D",
        help="of their embeddings (default %(default)s)",
    )
    search.add_argument(
        "--threshold", type=_similarity, default=99.0, metavar="T", help="similarity, 0 to 100 (default %(default)s)"
    )
    search.add_argument(
        "--queries",
        type=_between(5, 10_000),
        default=40,
        metavar="N",
        help="searches in each way (default %(default)s)",
    )
    search.set_defaults(run=bench)


def bench(arguments: argparse.Namespace) -> NoReturn:
    """Become the process that measures."""
    sys.stdout.flush()
    options = {name: getattr(arguments, name) for name in ("faces", "dimensions", "threshold", "queries")}
    command = [sys.executable, "-m", "workers.bench", json.dumps(options)]
    os.execv(command[0], command)  # noqa: S606 - our own module, and JSON that we wrote


def _between(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text)
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"must be {least} to {most}")
        return number

    return read


def _similarity(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError("must be 0 to 100")
    return number
