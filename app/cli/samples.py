"""`rekollect samples`: the checksummed portraits in the cache."""

import argparse

from app import assets
from app.config import Settings


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect samples`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("pull", help="pull the sample portraits").set_defaults(run=pull)


def pull(arguments: argparse.Namespace) -> int:
    """Pull the sample portraits."""
    assets.pull_samples(Settings.from_environment(), print)
    return 0
