"""The `rekollect` command: reads the arguments and hands over; failures people can mend are one line, not a traceback.

Each command is a function `configure(parser)` in its module, which adds the options and sets `run`. Only the module of the
command that was asked for is imported, so that `rekollect --help` and the single processes start quickly.
"""

import argparse
import sys
from importlib import import_module

import sqlalchemy as sa

from app.assets import AssetError
from app.cli.client import ClientError
from app.config import SettingsError
from app.encryption import WrongSecretKey
from app.errors import ServiceError
from app.services.access_keys import AccountNotFound

COMMANDS = {
    "up": ("up:configure", "run the whole stack on this machine until Ctrl-C"),
    "demo": ("demo:configure", "show the main job end to end with real portraits"),
    "doctor": ("doctor:configure", "tell what is missing or wrong on this machine"),
    "migrate": ("processes:configure_migrate", "bring the database to the newest schema"),
    "keys": ("keys:configure", "access keys: create, list, disable, enable, revoke"),
    "index": ("index:configure", "put many pictures into a collection"),
    "search": ("search:configure", "search a collection with many pictures"),
    "jobs": ("jobs:configure", "jobs: submit, list, show, cancel, retry"),
    "webhooks": ("webhooks:configure", "webhooks: endpoints, deliveries, the account's secret"),
    "schedules": ("schedules:configure", "what happens by itself: list, show, run, enable, disable"),
    "audit": ("audit:configure", "who did what to which collection"),
    "models": ("models:configure", "face models: list, pull, verify, add, default"),
    "evaluate": ("evaluate:configure", "measure a face model on labelled pictures, fit its similarity curve"),
    "collections": ("collections:configure", "collections: show one, say how it is searched"),
    "bench": ("bench:configure", "measure what a search costs on this machine"),
    "reprocess": ("reprocess:configure", "another face model version for a collection: start, show, roll back"),
    "crops": ("reprocess:configure_crops", "kept crops of faces: show, keep, drop, purge"),
    "samples": ("samples:configure", "sample portraits: pull"),
    "api": ("processes:configure_api", "run the web process"),
    "worker": ("processes:configure_worker", "run a worker process"),
    "courier": ("processes:configure_courier", "run a webhook sender"),
    "beat": ("processes:configure_beat", "run the ticker"),
}


def _parser(wanted: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rekollect", description="Self-hosted face search that answers boto3.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (target, help_) in COMMANDS.items():
        command = commands.add_parser(name, help=help_, description=help_)
        if name == wanted:
            module, configure = target.split(":")
            getattr(import_module(f"app.cli.{module}"), configure)(command)
    return parser


def main() -> int:
    """Run one command; the exit status is 1 for what the user can mend, 2 for wrong arguments."""
    arguments = _parser(next((word for word in sys.argv[1:] if not word.startswith("-")), "")).parse_args()
    try:
        status: int = arguments.run(arguments)
    except (SettingsError, AssetError, WrongSecretKey, AccountNotFound) as error:
        print(f"rekollect: {error}", file=sys.stderr)
        if "REKOLLECT_DATABASE_URL" in str(error):
            print("With `rekollect up` running, read its settings first: . .rekollect/environment", file=sys.stderr)
        return 1
    except ClientError as error:
        print(f"rekollect: {error}", file=sys.stderr)
        return 1
    except (ServiceError, sa.exc.SQLAlchemyError) as error:
        print(f"rekollect: the database does not answer as expected: {error.__cause__ or error}", file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(main())
