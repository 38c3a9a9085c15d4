"""Scores of pairs, sorted: of one person (genuine) and of two (impostor).

Sorted arrays answer every question about rates exactly by counting. All pairs of n pictures are n * n / 2 numbers, hence the
bound on n; each is four bytes.
"""

from dataclasses import dataclass

import numpy as np

from workers.evaluation.enrolment import Enrolment
from workers.evaluation.errors import EvaluationError
from workers.evaluation.pairs import Pairs, Places
from workers.vision.arrays import Floats

#: 200 million pairs, 800 MB.
MOST_PICTURES = 20_000
EXAMPLES = 10

#: The least threshold there is: above it is every score but that of a failure to enrol.
LOWEST = float(np.finfo(np.float32).min)

_BLOCK = 256


@dataclass(frozen=True, slots=True)
class Example:
    """One pair by the indices of its pictures."""

    left: int
    right: int
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Ascending scores of both kinds; a failure to enrol is minus infinity."""

    genuine: Floats
    impostor: Floats
    norms: Floats  # of each genuine pair, in the same order: the lesser of the two embeddings' raw lengths
    #: Where labels are wrong it shows at these ends: the most alike of two persons, and the least alike of one.
    alike: list[Example]
    unlike: list[Example]


def check(pictures: int) -> None:
    """Raise EvaluationError where all pairs of so many pictures are too many."""
    if pictures > MOST_PICTURES:
        raise EvaluationError(f"{pictures} pictures make too many pairs; {MOST_PICTURES} are the most")


def score_pairs(enrolment: Enrolment, pairs: Pairs) -> tuple[Scores, Floats]:
    """Score listed pairs; also gives the scores in the order of the list."""
    values = enrolment.paired(pairs.left, pairs.right)
    impostor = values[~pairs.same]
    alike = _alike(impostor, pairs.left[~pairs.same], pairs.right[~pairs.same])
    genuine = _genuine(enrolment, values[pairs.same], pairs.left[pairs.same], pairs.right[pairs.same])
    return Scores(genuine[0], np.sort(impostor), genuine[1], alike, genuine[2]), values


def score_all(enrolment: Enrolment, persons: list[str]) -> Scores:
    """Score every pair of pictures once; no more pictures than `check` lets pass."""
    total = len(persons)
    _, labels, counts = np.unique(persons, return_inverse=True, return_counts=True)
    impostor = np.empty((total * total - int(np.sum(counts**2))) // 2, np.float32)
    filled = 0
    alike: list[Example] = []
    genuine: list[tuple[Floats, Places, Places]] = []
    for start in range(0, total, _BLOCK):
        rows, columns = np.arange(start, min(start + _BLOCK, total)), np.arange(start, total)
        block = enrolment.scores(rows, columns)
        later = columns[None, :] > rows[:, None]
        same = labels[rows][:, None] == labels[columns][None, :]
        one, other = np.nonzero(later & same)
        genuine.append((block[one, other], rows[one], columns[other]))
        one, other = np.nonzero(later & ~same)
        found = block[one, other]
        impostor[filled : filled + len(found)] = found
        filled += len(found)
        alike = _most_alike([*alike, *_alike(found, rows[one], columns[other])])
    impostor.sort()
    values, left, right = (np.concatenate(arrays) for arrays in zip(*genuine, strict=True))
    ordered, norms, unlike = _genuine(enrolment, values, left, right)
    return Scores(ordered, impostor, norms, alike, unlike)


def _genuine(enrolment: Enrolment, values: Floats, left: Places, right: Places) -> tuple[Floats, Floats, list[Example]]:
    """Sort pairs of one person: their scores, their lesser norms, and the least alike of those that were enrolled."""
    order = np.argsort(values, kind="stable")
    values, left, right = values[order], left[order], right[order]
    first = int(np.searchsorted(values, -np.inf, side="right"))
    chosen = range(first, min(first + EXAMPLES, len(values)))
    unlike = [Example(int(left[place]), int(right[place]), float(values[place])) for place in chosen]
    return values, np.minimum(enrolment.norms[left], enrolment.norms[right]), unlike


def _alike(values: Floats, left: Places, right: Places) -> list[Example]:
    best = np.argpartition(values, -EXAMPLES)[-EXAMPLES:] if len(values) > EXAMPLES else np.arange(len(values))
    known = best[np.isfinite(values[best])]
    return _most_alike([Example(int(left[place]), int(right[place]), float(values[place])) for place in known])


def _most_alike(examples: list[Example]) -> list[Example]:
    return sorted(examples, key=lambda example: example.score, reverse=True)[:EXAMPLES]
