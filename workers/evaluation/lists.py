"""The written lists of an evaluation: LFW's pairs.txt, `left,right,same[,fold]`, `path,person`.

Paths of a CSV are relative to its folder.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.evaluation.errors import EvaluationError

_TRUTHS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


@dataclass(frozen=True, slots=True)
class LfwPair:
    """A line of pairs.txt: each picture by its person and its name without suffix."""

    left: tuple[str, str]
    right: tuple[str, str]
    same: bool
    fold: int


@dataclass(frozen=True, slots=True)
class Paired:
    """A line of a CSV of pairs."""

    left: Path
    right: Path
    same: bool
    fold: str | None


@dataclass(frozen=True, slots=True)
class Labelled:
    """A line of a CSV of pictures."""

    picture: Path
    person: str


def read_lfw_pairs(file: Path) -> Iterator[LfwPair]:
    """Read pairs.txt: how many folds and pairs of either kind, then a pair a line, `Ann 1 2` or `Ann 1 Bea 2`."""
    head, *lines = [line.split() for line in file.read_text().splitlines() if line.strip()] or [[]]
    try:
        folds, count = (int(word) for word in (head if len(head) == 2 else ["1", *head]))
    except ValueError as error:
        raise EvaluationError(f"{file}: the first line must give the numbers of folds and of pairs") from error
    if folds < 1 or count < 1 or len(lines) != 2 * folds * count:
        raise EvaluationError(f"{file} announces {2 * folds * count} pairs and has {len(lines)}")
    for number, words in enumerate(lines):
        try:
            person, one, *rest = words
            other_person, other = (person, *rest) if len(words) == 3 else rest
            left, right = ((name, f"{name}_{int(index):04d}") for name, index in ((person, one), (other_person, other)))
        except ValueError as error:
            raise EvaluationError(f"{file}: {' '.join(words)!r} is no pair") from error
        yield LfwPair(left, right, same=len(words) == 3, fold=number // (2 * count))


def read_csv(file: Path) -> list[Paired] | list[Labelled]:
    """Read a CSV of pairs or of pictures; its first line tells which."""
    with file.open(newline="", encoding="utf-8-sig") as stream:
        reader = csv.DictReader(stream)
        columns = set(reader.fieldnames or ())
        try:
            if {"left", "right", "same"} <= columns:
                return [_paired(file.parent, row) for row in reader]
            if {"path", "person"} <= columns:
                return [Labelled(file.parent / _cell(row, "path"), _cell(row, "person")) for row in reader]
        except (ValueError, csv.Error) as error:
            line = f"{file}, line {reader.line_num}"
            raise EvaluationError(f"{line}: every line needs all columns, and same must be 1 or 0") from error
    raise EvaluationError(f"{file}: its first line must be left,right,same or left,right,same,fold or path,person")


def _paired(folder: Path, row: dict[str, str]) -> Paired:
    same = _TRUTHS.get(_cell(row, "same").strip().lower())
    if same is None:
        raise ValueError
    return Paired(folder / _cell(row, "left"), folder / _cell(row, "right"), same, row.get("fold"))


def _cell(row: dict[str, str], column: str) -> str:
    if not row[column]:
        raise ValueError
    return row[column]
