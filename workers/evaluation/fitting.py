"""The similarity curve of a model, fitted: similarity 80 where strangers match once in 1e4, 99 where they do once in 1e6.

log10 of the false match rate is close to a falling parabola in the cosine (within 0.07 decades on LFW), because scores of
strangers are nearly normal. Where the data hold too few pairs for a rate, the parabola is followed beyond them: the two anchors
then rest on its shape, and the fit says so.
"""

import math
from dataclasses import dataclass

import numpy as np

from app.domain.face_models import SimilarityCurve
from workers.evaluation.errors import EvaluationError
from workers.evaluation.metrics import FEWEST_ERRORS, enough, threshold_at
from workers.vision.arrays import Floats

#: Similarity and the false match rate it stands for.
ANCHORS = ((80.0, 1e-4), (99.0, 1e-6))

#: With fewer pairs of strangers the parabola would rest on less than two decades.
FEWEST_IMPOSTORS = 1_000
_HIGHEST_RATE = 1e-1
_POINTS = 40


@dataclass(frozen=True, slots=True)
class Anchor:
    """One point of the curve, and whether it was seen or extrapolated."""

    similarity: float
    false_match_rate: float
    cosine: float
    extrapolated: bool


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve, the points it goes through, and the parabola of log10 FMR: (quadratic, linear, constant)."""

    curve: SimilarityCurve
    anchors: tuple[Anchor, ...]
    parabola: tuple[float, float, float]
    lowest_rate_seen: float


def fit(impostor: Floats) -> Fit:
    """Fit the curve to ascending cosines of strangers; raise EvaluationError where they cannot tell it."""
    if len(impostor) < FEWEST_IMPOSTORS:
        raise EvaluationError(
            f"a curve needs {FEWEST_IMPOSTORS} pairs of strangers at least, there are {len(impostor)}: "
            "take all pairs of a folder (--all-pairs)"
        )
    lowest = FEWEST_ERRORS / len(impostor)
    parabola = _parabola(impostor, lowest)
    anchors = tuple(_anchor(impostor, similarity, rate, parabola) for similarity, rate in ANCHORS)
    (low, high) = anchors
    if not -1.0 <= low.cosine < high.cosine <= 1.0:
        raise EvaluationError("the cosines of strangers do not fall off as they must: there is no curve for this model")
    slope = (_log_odds(high.similarity) - _log_odds(low.similarity)) / (high.cosine - low.cosine)
    return Fit(SimilarityCurve(slope, slope * low.cosine - _log_odds(low.similarity)), anchors, parabola, lowest)


def _anchor(impostor: Floats, similarity: float, rate: float, parabola: tuple[float, float, float]) -> Anchor:
    seen = enough(rate * len(impostor))
    cosine = threshold_at(impostor, rate) if seen else _cosine(parabola, math.log10(rate))
    return Anchor(similarity, rate, cosine, extrapolated=not seen)


def _parabola(impostor: Floats, lowest: float) -> tuple[float, float, float]:
    """Fit log10 FMR over the cosine at rates that are evenly spread over the decades, down to the lowest that is told."""
    rates = np.geomspace(_HIGHEST_RATE, lowest, _POINTS)
    cosines = np.array([threshold_at(impostor, rate) for rate in rates])
    usable = cosines >= -1.0  # below that are failures to enrol
    if len(np.unique(cosines[usable])) < 3:
        raise EvaluationError("the cosines of strangers are all alike: there is no curve for this model")
    quadratic, linear, constant = np.polyfit(cosines[usable], np.log10(rates[usable]), 2)
    if quadratic >= 0.0:  # the tail is heavier than any parabola that falls; a line keeps the anchors on the safe side
        quadratic, (linear, constant) = 0.0, np.polyfit(cosines[usable], np.log10(rates[usable]), 1)
    return float(quadratic), float(linear), float(constant)


def _cosine(parabola: tuple[float, float, float], log_rate: float) -> float:
    """Solve the parabola for its falling side; infinity where it never gets there."""
    quadratic, linear, constant = parabola
    missing = constant - log_rate
    if quadratic == 0.0:
        return -missing / linear if linear < 0.0 else math.inf
    root = linear * linear - 4.0 * quadratic * missing
    return (-linear - math.sqrt(root)) / (2.0 * quadratic) if root >= 0.0 else math.inf


def _log_odds(similarity: float) -> float:
    return math.log(similarity / (100.0 - similarity))
