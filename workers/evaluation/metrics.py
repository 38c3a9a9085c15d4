"""Error rates of a set of scores, exact by counting, and silent where there is too little to count.

A pair matches where its score is at or above the threshold. A false match rate is told by the false matches that make it up:
with fewer than ten expected, another sample of the same size would show something else.
"""

from dataclasses import dataclass

import numpy as np

from workers.evaluation.pairs import Flags, Pairs
from workers.evaluation.scores import LOWEST, Scores
from workers.vision.arrays import Floats

RATES = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
FEWEST_ERRORS = 10


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """The threshold that a false match rate asks for, and the share of genuine pairs that reach it."""

    false_match_rate: float
    expected_errors: float
    threshold: float
    true_match_rate: float | None

    @property
    def can_tell(self) -> bool:
        """Whether there are enough pairs of strangers."""
        return enough(self.expected_errors)


def enough(errors: float) -> bool:
    """Say whether so many expected errors make a rate that another sample would show too."""
    return errors >= FEWEST_ERRORS * (1 - 1e-9)  # 1e-2 of 1,000 is a little less than 10 in binary


def share_at(ascending: Floats, threshold: float) -> float | None:
    """Give the share of scores at or above a threshold; None where there are no scores."""
    if len(ascending) == 0:
        return None
    return 1.0 - float(np.searchsorted(ascending, threshold)) / len(ascending)


def threshold_at(impostor: Floats, rate: float) -> float:
    """Give the least threshold at which no more than this share of ascending impostor scores match."""
    allowed = int(rate * len(impostor) * (1 + 1e-9))
    if allowed >= len(impostor):
        return LOWEST
    last_refused = np.float32(impostor[len(impostor) - 1 - allowed])
    return float(np.nextafter(last_refused, np.float32(np.inf)))


def operating_point(scores: Scores, rate: float) -> OperatingPoint:
    """Find the threshold of a false match rate, and what it lets pass."""
    threshold = threshold_at(scores.impostor, rate)
    return OperatingPoint(rate, rate * len(scores.impostor), threshold, share_at(scores.genuine, threshold))


def equal_error_rate(scores: Scores) -> float | None:
    """Give the rate at which both kinds of error are equal: over all thresholds, the least of the larger of the two."""
    genuine, impostor = scores.genuine, scores.impostor
    if len(genuine) == 0 or len(impostor) == 0:
        return None
    # Between two genuine scores only false matches change, so that the upper of the two is the best threshold.
    missed = np.searchsorted(genuine, genuine) / len(genuine)
    false = 1.0 - np.searchsorted(impostor, genuine) / len(impostor)
    return float(min(np.maximum(missed, false).min(), 1.0))


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Mean share of right decisions over the folds, and its sample standard deviation."""

    mean: float
    deviation: float
    folds: int


def accuracy(values: Floats, pairs: Pairs) -> Accuracy | None:
    """Judge each fold with the threshold that is best on all others; None with fewer than two folds."""
    folds = np.unique(pairs.folds)
    if len(folds) < 2:
        return None
    doubles, shares = values.astype(np.float64), []
    for fold in folds:
        judged = pairs.folds == fold
        threshold = best_threshold(doubles[~judged], pairs.same[~judged])
        shares.append(float(np.mean((doubles[judged] >= threshold) == pairs.same[judged])))
    return Accuracy(float(np.mean(shares)), float(np.std(shares, ddof=1)), len(folds))


def best_threshold(values: Floats, same: Flags) -> float:
    """Give the threshold with the most right decisions, half way to the next lower score; infinity where nothing matches."""
    order = np.argsort(-values, kind="stable")
    falling = values[order]
    gains = np.cumsum(np.where(same[order], 1, -1))
    gains[:-1][falling[1:] == falling[:-1]] = -len(gains) - 1  # equal scores match together or not at all
    best = int(np.argmax(gains))
    if gains[best] <= 0:
        return float("inf")
    below = falling[best + 1] if best + 1 < len(falling) else -np.inf
    return float((falling[best] + below) / 2 if np.isfinite(below) else falling[best])


def error_versus_reject(scores: Scores, threshold: float, shares: Floats) -> Floats:
    """Give the share of genuine pairs missed when the share with the least norms is left out, for each share."""
    by_norm = np.argsort(scores.norms, kind="stable")
    missed = (np.arange(len(by_norm)) < np.searchsorted(scores.genuine, threshold))[by_norm]
    left = len(missed) - np.minimum(np.round(shares * len(missed)).astype(np.intp), len(missed) - 1)
    return np.asarray(np.cumsum(missed[::-1])[left - 1] / left)


def false_candidate(false_match_rate: float, gallery: int) -> float:
    """Give the chance that a stranger matches anybody among so many persons, were all comparisons independent."""
    return float(-np.expm1(gallery * np.log1p(-false_match_rate))) if false_match_rate < 1.0 else 1.0
