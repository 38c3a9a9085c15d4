"""`rekollect search`: search a collection with many pictures, one row for each match."""

import argparse
import csv
import json
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.cli import pictures
from app.cli.client import ClientError, add_options, connect
from app.cli.crew import Crew
from app.cli.lookup import Lookup, Outcome
from app.cli.pictures import Picture
from app.cli.progress import Progress

_TITLES = ("picture", "rank", "similarity", "external_id", "face_id", "error")
_INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of `rekollect search`."""
    parser.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="pictures, or folders of pictures")
    parser.add_argument("--collection", required=True, help="the collection's id")
    parser.add_argument("--threshold", type=float, metavar="SIMILARITY", help="0 to 100; the API's own is 80")
    parser.add_argument(
        "--max-faces", type=int, default=5, metavar="N", help="matches of a picture (default %(default)s)"
    )
    parser.add_argument(
        "--concurrency", type=int, default=4, metavar="N", help="pictures under way (default %(default)s)"
    )
    parser.add_argument("--csv", action="store_true", help="print comma-separated values")
    add_options(parser)
    parser.set_defaults(run=search)


def search(arguments: argparse.Namespace) -> int:
    """Search; the exit status is 1 where pictures failed, 130 after Ctrl-C."""
    found = [picture for path in arguments.paths for picture in pictures.find(path)]
    if not found:
        raise ClientError("there is no picture: nothing ends in .jpg, .jpeg or .png")
    crew = Crew(arguments.concurrency)
    lookup = Lookup(connect(arguments), crew, "SearchFacesByImage", "NORMAL")
    progress, failed = Progress(len(found), quiet=sys.stdout.isatty()), False  # there the rows show how far it is
    write = _writer(arguments)
    with crew.listening():
        for outcome in crew.do(_work(lookup, arguments), found):
            if outcome.result is None and outcome.error is None:
                continue
            failed |= outcome.error is not None
            matches = (outcome.result or {}).get("FaceMatches", [])
            progress.count(faces=len(matches), failed=outcome.error is not None)
            write(outcome, matches)
    progress.show(last=True)
    return _INTERRUPTED if crew.stopped else int(failed)


def _work(lookup: Lookup, arguments: argparse.Namespace) -> Callable[[Picture], Outcome]:
    members = {
        "CollectionId": arguments.collection,
        "FaceMatchThreshold": arguments.threshold,
        "MaxFaces": arguments.max_faces,
    }
    input_ = {name: value for name, value in members.items() if value is not None}

    def work(picture: Picture) -> Outcome:
        try:
            content = picture.path.read_bytes()
        except OSError as error:
            return Outcome(picture, error=f"cannot be read: {error.strerror}")
        return lookup.run(picture, content, input_, f"search:{uuid.uuid4()}")  # the key is for its own retries alone

    return work


Write = Callable[[Outcome, list[dict[str, Any]]], None]


def _writer(arguments: argparse.Namespace) -> Write:
    """Begin the output, and give what writes one picture of it: CSV, JSON Lines, or columns for people."""
    if arguments.json:
        return lambda outcome, matches: print(
            json.dumps({"Picture": str(outcome.picture.path), "FaceMatches": matches, "Error": outcome.error})
        )
    if arguments.csv:
        rows = csv.writer(sys.stdout)
        rows.writerow(_TITLES)
        return lambda outcome, matches: rows.writerows(_rows(outcome, matches))
    print(_line(_TITLES))
    return lambda outcome, matches: print("\n".join(map(_line, _rows(outcome, matches))))


def _rows(outcome: Outcome, matches: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    name = str(outcome.picture.path)
    if not matches:
        return [(name, "", "", "", "", outcome.error or "")]
    return [
        (
            name,
            str(rank),
            f"{match['Similarity']:.2f}",
            match["Face"].get("ExternalImageId", ""),
            match["Face"]["FaceId"],
            "",
        )
        for rank, match in enumerate(matches, start=1)
    ]


def _line(cells: Sequence[str]) -> str:
    widths = (40, 4, 10, 30, 36)
    *first, last = cells
    return "  ".join([*(cell.ljust(width) for cell, width in zip(first, widths, strict=True)), last]).rstrip()
