"""`rekollect models` and `rekollect samples`: the checksummed files in the cache."""

import argparse

from app import assets
from app.config import Settings
from app.domain.face_models import VERSIONS


def configure_models(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect models`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("list", help="list versions and their files").set_defaults(run=list_models)
    actions.add_parser("pull", help="pull what is missing; only pinned checksums pass").set_defaults(run=pull_models)
    actions.add_parser("verify", help="compare the files with their checksums").set_defaults(run=verify_models)


def configure_samples(parser: argparse.ArgumentParser) -> None:
    """Add the actions of `rekollect samples`."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions.add_parser("pull", help="pull the sample portraits").set_defaults(run=pull_samples)


def list_models(arguments: argparse.Namespace) -> int:
    """Show each face model version, its files and whether they are here."""
    settings = Settings.from_environment()
    for version in VERSIONS.values():
        print(f"face model version {version.version}: {version.dimension} dimensions")
        for file in (version.detector, version.embedder):
            found = assets.find_model(settings, file)
            print(
                f"  {file.name}  {file.size / 1e6:.1f} MB  {file.licence}  {found or 'missing: rekollect models pull'}"
            )
    return 0


def pull_models(arguments: argparse.Namespace) -> int:
    """Pull every model file that is missing."""
    assets.pull_models(Settings.from_environment(), print)
    return 0


def verify_models(arguments: argparse.Namespace) -> int:
    """Compare every model file with its checksum."""
    results = assets.verify_models(Settings.from_environment())
    for file, intact in results:
        print(f"{'ok     ' if intact else 'WRONG  '} {file.name}  sha256 {file.sha256}")
    return 0 if all(intact for _, intact in results) else 1


def pull_samples(arguments: argparse.Namespace) -> int:
    """Pull the sample portraits."""
    assets.pull_samples(Settings.from_environment(), print)
    return 0
