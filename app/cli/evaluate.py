"""`rekollect evaluate`: how well a face model version tells people apart, measured on labelled pictures.

The work is the workers' code, in a process that this one becomes: the command reads the options and knows no pixels.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

from app.cli import embedder_file
from app.domain.face_models import VERSION_NAME

PEERS = ("opencv", "dlib")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect evaluate`."""
    parser.add_argument(
        "place",
        type=Path,
        metavar="PAIRS.csv|LFW-DIR",
        help="a CSV with left,right,same[,fold] or path,person; a folder with PERSON/picture.jpg, and pairs.txt as LFW has it",
    )
    parser.add_argument(
        "--all-pairs", action="store_true", help="every pair of the folder, whatever its pairs.txt names"
    )
    parser.add_argument(
        "--gallery",
        type=_at_least_one,
        nargs="+",
        default=[],
        metavar="N",
        help="search among so many enrolled persons (default: half of them where pictures are labelled and not paired)",
    )
    parser.add_argument("--fit", action="store_true", help="fit the similarity curve: 80 at FMR 1e-4, 99 at 1e-6")
    parser.add_argument("--model", metavar="VERSION|FILE.onnx", help="face model version, or an embedder not yet added")
    embedder_file.configure(parser)
    parser.add_argument("--peers", type=_peers, default=[], metavar="NAME,NAME", help=f"also {', '.join(PEERS)}")
    parser.add_argument("--report", type=Path, metavar="FILE.html", help="write tables and plots")
    parser.add_argument("--json", action="store_true", help="print a JSON document")
    parser.add_argument(
        "--threads",
        type=_at_least_one,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="pictures looked at at once (default: one a core)",
    )
    parser.set_defaults(run=evaluate)


def evaluate(arguments: argparse.Namespace) -> NoReturn:
    """Become the process that evaluates."""
    sys.stdout.flush()
    command = [sys.executable, "-m", "workers.evaluation", json.dumps(options(arguments))]
    os.execv(command[0], command)  # noqa: S606 - our own module, and JSON that we wrote


def options(arguments: argparse.Namespace) -> dict[str, object]:
    """Give the options as the process reads them; raise AssetError for a file that is no embedder."""
    version = arguments.model is None or VERSION_NAME.fullmatch(arguments.model)
    return {
        "place": str(arguments.place),
        "all_pairs": arguments.all_pairs,
        "gallery": arguments.gallery,
        "fit": arguments.fit,
        "model": arguments.model,
        "dimension": None if version else embedder_file.dimension(Path(arguments.model)),
        "preprocessing": dataclasses.asdict(embedder_file.preprocessing(arguments)),
        "peers": arguments.peers,
        "report": None if arguments.report is None else str(arguments.report),
        "json": arguments.json,
        "threads": arguments.threads,
    }


def _peers(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    if not set(names) <= set(PEERS):
        raise argparse.ArgumentTypeError(f"choose from {', '.join(PEERS)}")
    return names


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
