"""Pictures that a command was given: files, folders with all that is in them, or a prefix of S3."""

import argparse
import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app.cli.client import ClientError
from app.domain.batches import legal_external_id

_TITLE = ["path", "external_id"]
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})

#: What the API takes of a picture that comes with its request.
MAX_BYTES = 5_242_880

Naming = Callable[["Picture"], str]


class Unlisted(Exception):
    """A table of ids does not name a picture; the message says which table."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and its name within what the command was given."""

    path: Path
    name: str


@dataclass(frozen=True, slots=True)
class Prefix:
    """All objects of a bucket whose keys begin so."""

    bucket: str
    prefix: str


def read_place(text: str) -> Path | Prefix:
    """Read an argument that names pictures."""
    if text.startswith("s3://"):
        found = re.fullmatch(r"s3://([^/]+)/?(.*)", text)
        if found is None:
            raise argparse.ArgumentTypeError(f"{text} is not s3://BUCKET/PREFIX")
        return Prefix(found[1], found[2])
    return Path(text)


def find(place: Path) -> Iterator[Picture]:
    """Give a file, or the pictures in a folder and below, in the order of their names; raises ClientError."""
    if place.is_file():
        yield Picture(place, place.name)
        return
    if not place.is_dir():
        raise ClientError(f"there is no file or folder {place}")
    for path in sorted(place.rglob("*")):
        if path.suffix.lower() in SUFFIXES and path.is_file():
            yield Picture(path, path.relative_to(place).as_posix())


def naming(rule: str) -> Naming:
    """Read how pictures get their ExternalImageId: name, path, or csv:FILE, whose ids raise Unlisted; raises ClientError."""
    if rule == "name":
        return lambda picture: legal_external_id(picture.path.stem)
    if rule == "path":
        return lambda picture: legal_external_id(picture.name)
    kind, _, file = rule.partition(":")
    if kind != "csv" or not file:
        raise ClientError("--external-id-from is name, path or csv:FILE")
    return _listed(Path(file))


def _listed(file: Path) -> Naming:
    known = _read_csv(file)

    def name_of(picture: Picture) -> str:
        if picture.name not in known:
            raise Unlisted(f"not in {file}")
        return known[picture.name]

    return name_of


def _read_csv(file: Path) -> dict[str, str]:
    """Read lines of a picture's path and its id; the first may be the title `path,external_id`."""
    try:
        with file.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ClientError(f"cannot read {file}: {error}") from error
    if any(len(row) != 2 for row in rows):
        raise ClientError(f"{file} must have two columns: path, external_id")
    listed = rows[1:] if rows[:1] == [_TITLE] else rows
    return {path: legal_external_id(external_id) for path, external_id in listed}
