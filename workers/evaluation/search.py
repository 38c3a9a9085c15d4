"""Open-set search: some persons are enrolled with one picture each, all others are strangers.

A search finds its person where that one comes first and reaches the threshold (TPIR); a stranger's search goes wrong where
anybody reaches it (FPIR). Who is enrolled is drawn with a fixed seed, so that two runs ask the same.
"""

from dataclasses import dataclass

import numpy as np

from workers.evaluation.enrolment import Enrolment
from workers.evaluation.errors import EvaluationError
from workers.evaluation.metrics import share_at
from workers.evaluation.pairs import Places
from workers.evaluation.scores import LOWEST
from workers.vision.arrays import Floats

_BLOCK = 256


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """What searches in one gallery gave."""

    gallery: int  # persons
    found: Floats  # ascending, a search of an enrolled person each: the person's score if it came first, else -infinity
    strangers: Floats  # ascending, a search of a stranger each: the highest score

    @property
    def rank_one(self) -> float | None:
        """Share of searches in which the person came first."""
        return share_at(self.found, LOWEST)

    def true_positive_rate(self, threshold: float) -> float | None:
        """Share of searches that found their person."""
        return share_at(self.found, threshold)

    def false_positive_rate(self, threshold: float) -> float | None:
        """Share of strangers' searches that named somebody."""
        return share_at(self.strangers, threshold)


def check(persons: list[str], size: int) -> None:
    """Raise EvaluationError where there are not so many persons."""
    known = len(set(persons))
    if not 1 <= size <= known:
        raise EvaluationError(f"a gallery of {size} persons cannot be made of {known}")


def search(enrolment: Enrolment, persons: list[str], size: int) -> Search:
    """Search every picture that is not in the gallery; a person's first picture is the one enrolled."""
    _, first, labels = np.unique(persons, return_index=True, return_inverse=True)
    enrolled = np.sort(np.random.default_rng(0).permutation(len(first))[:size])
    gallery = first[enrolled]
    probes = np.setdiff1d(np.arange(len(persons)), gallery)
    best, scores = _nearest(enrolment, probes, gallery)
    known = np.isin(labels[probes], enrolled)
    right = labels[gallery[best]] == labels[probes]
    found = np.where(right, scores, -np.inf)[known]
    return Search(size, np.sort(found), np.sort(scores[~known]))


def _nearest(enrolment: Enrolment, probes: Places, gallery: Places) -> tuple[Places, Floats]:
    """Give the place in the gallery and the score of the best candidate of each picture."""
    best, scores = np.zeros(len(probes), np.intp), np.zeros(len(probes), np.float32)
    for start in range(0, len(probes), _BLOCK):
        part = slice(start, start + _BLOCK)
        block = enrolment.scores(probes[part], gallery)
        best[part] = block.argmax(axis=1)
        scores[part] = block[np.arange(len(block)), best[part]]
    return best, scores
