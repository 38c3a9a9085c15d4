"""Labelled pictures on disk: LFW's layout with its pairs.txt, folders named after persons, a CSV of pairs or of pictures.

Every picture is listed once, however many pairs it is part of. What is named and not there is an error before the first
picture is looked at: an evaluation over what happened to be readable would not be the one that was asked for.
"""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from workers.evaluation import lists
from workers.evaluation.errors import EvaluationError
from workers.evaluation.pairs import Pairs, deal

PAIRS_FILE = "pairs.txt"
SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Pictures, and what is known of them: the person of each (none: not known), and pairs (None: every pair counts)."""

    pictures: list[Path]
    persons: list[str]
    pairs: Pairs | None
    #: Whether the labelled person is the one in the middle of the picture, as in LFW, rather than the largest.
    central: bool = False

    def paired(self) -> "Dataset":
        """Leave out the pictures that no pair names."""
        if self.pairs is None:
            return self
        kept, places = np.unique(np.concatenate([self.pairs.left, self.pairs.right]), return_inverse=True)
        left, right = np.split(places, 2)
        persons = [self.persons[place] for place in kept] if self.persons else []
        pairs = replace(self.pairs, left=left, right=right)
        return Dataset([self.pictures[place] for place in kept], persons, pairs, self.central)


def read(place: Path, *, all_pairs: bool = False) -> Dataset:
    """Read a folder or a CSV file; `all_pairs` takes every pair of a folder's pictures and leaves its pairs.txt alone."""
    if place.is_file():
        return _read_csv(place)
    if not place.is_dir():
        raise EvaluationError(f"{place} does not exist")
    has_pairs = (place / PAIRS_FILE).is_file()
    labelled = _read_folder(place, central=has_pairs)
    return _with_pairs(labelled, place / PAIRS_FILE) if has_pairs and not all_pairs else labelled


def _read_folder(place: Path, *, central: bool) -> Dataset:
    """Read PERSON/picture.jpg, here or up to two folders deeper, as LFW's archives unpack."""
    for root in (place, *sorted(place.glob("*/")), *sorted(place.glob("*/*/"))):
        pictures = sorted(path for path in root.glob("*/*") if path.suffix.lower() in SUFFIXES)
        if pictures:
            return Dataset(pictures, [path.parent.name for path in pictures], None, central)
    raise EvaluationError(f"{place} has no pictures in folders named after persons, as PERSON/picture.jpg")


def _with_pairs(labelled: Dataset, file: Path) -> Dataset:
    named = {(path.parent.name, path.stem): place for place, path in enumerate(labelled.pictures)}
    left, right, same, folds = [], [], [], []
    for pair in lists.read_lfw_pairs(file):
        try:
            left.append(named[pair.left])
            right.append(named[pair.right])
        except KeyError as error:
            raise EvaluationError(f"{file} names {'/'.join(error.args[0])}, of which there is no picture") from error
        same.append(pair.same)
        folds.append(pair.fold)
    return replace(labelled, pairs=Pairs(np.array(left), np.array(right), np.array(same), np.array(folds)))


def _read_csv(file: Path) -> Dataset:
    rows = lists.read_csv(file)
    if not rows:
        raise EvaluationError(f"{file} lists nothing")
    if isinstance(rows[0], lists.Labelled):
        labelled = [row for row in rows if isinstance(row, lists.Labelled)]
        twice = [picture for picture, count in Counter(row.picture for row in labelled).items() if count > 1]
        if twice:
            raise EvaluationError(f"{file} lists {twice[0]} more than once")
        return _existing(Dataset([row.picture for row in labelled], [row.person for row in labelled], None), file)
    pairs = [row for row in rows if isinstance(row, lists.Paired)]
    places: dict[Path, int] = {}
    left = np.array([places.setdefault(pair.left, len(places)) for pair in pairs])
    right = np.array([places.setdefault(pair.right, len(places)) for pair in pairs])
    same = np.array([pair.same for pair in pairs])
    folds = (
        deal(same) if pairs[0].fold is None else np.unique([pair.fold or "" for pair in pairs], return_inverse=True)[1]
    )
    return _existing(Dataset(list(places), [], Pairs(left, right, same, folds)), file)


def _existing(dataset: Dataset, file: Path) -> Dataset:
    missing = [picture for picture in dataset.pictures if not picture.is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise EvaluationError(f"{file} names {missing[0]}{more}, which is not there")
    return dataset
