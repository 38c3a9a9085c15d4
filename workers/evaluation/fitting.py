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
_REDRAWS = 200

#: From so many false matches on, chance moves a rate less than the parabola misses it: they weigh no more than that.
_MANY_ERRORS = 1_000

Parabola = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Anchor:
    """One point of the curve, seen or extrapolated."""

    similarity: float
    false_match_rate: float
    cosine: float
    #: Of an extrapolated cosine, the standard deviation that chance alone gives it; pairs share pictures, so it is the least.
    deviation: float | None

    @property
    def extrapolated(self) -> bool:
        """Whether there were too few pairs to count this rate."""
        return self.deviation is not None


@dataclass(frozen=True, slots=True)
class Fit:
    """A curve, the points it goes through, and the parabola of log10 FMR: (quadratic, linear, constant)."""

    curve: SimilarityCurve
    anchors: tuple[Anchor, ...]
    parabola: Parabola
    lowest_rate_seen: float


@dataclass(frozen=True, slots=True, eq=False)
class _Tail:
    """False match rates that are seen, evenly spread over the decades and falling, and the cosines that have them."""

    rates: Floats
    cosines: Floats
    pairs: int

    def parabola(self, rates: Floats) -> Parabola:
        """Fit log10 of rates over the cosines; a line where the tail is heavier than any parabola that falls."""
        weights = np.sqrt(np.minimum(self.rates * self.pairs, _MANY_ERRORS))
        logs = np.log10(np.maximum(rates, 0.5 / self.pairs))
        quadratic, linear, constant = np.polyfit(self.cosines, logs, 2, w=weights)
        if quadratic >= 0.0:
            quadratic, (linear, constant) = 0.0, np.polyfit(self.cosines, logs, 1, w=weights)
        return float(quadratic), float(linear), float(constant)

    def deviation(self, log_rate: float) -> float:
        """Draw the pairs anew, and see how far the cosine of a rate moves: half of what two thirds of the draws span."""
        shares = -np.diff(np.concatenate([[1.0], self.rates, [0.0]]))
        counts = np.random.default_rng(0).multinomial(self.pairs, shares, size=_REDRAWS)
        redrawn = np.cumsum(counts[:, :0:-1], axis=1)[:, ::-1] / self.pairs
        cosines = [min(_cosine(self.parabola(rates), log_rate), 1.0) for rates in redrawn]
        low, high = np.quantile(cosines, [1 / 6, 5 / 6])
        return float(high - low) / 2


def fit(impostor: Floats) -> Fit:
    """Fit the curve to ascending cosines of strangers; raise EvaluationError where they cannot tell it."""
    if len(impostor) < FEWEST_IMPOSTORS:
        raise EvaluationError(
            f"a curve needs {FEWEST_IMPOSTORS} pairs of strangers at least, there are {len(impostor)}: "
            "take all pairs of a folder (--all-pairs)"
        )
    tail = _tail(impostor)
    parabola = tail.parabola(tail.rates)
    low, high = (_anchor(impostor, tail, parabola, similarity, rate) for similarity, rate in ANCHORS)
    if not -1.0 <= low.cosine < high.cosine <= 1.0:
        raise EvaluationError("the cosines of strangers do not fall off as they must: there is no curve for this model")
    slope = (_log_odds(high.similarity) - _log_odds(low.similarity)) / (high.cosine - low.cosine)
    curve = SimilarityCurve(slope, slope * low.cosine - _log_odds(low.similarity))
    return Fit(curve, (low, high), parabola, float(tail.rates[-1]))


def _tail(impostor: Floats) -> _Tail:
    rates = np.geomspace(_HIGHEST_RATE, FEWEST_ERRORS / len(impostor), _POINTS)
    cosines = np.array([threshold_at(impostor, rate) for rate in rates])
    usable = cosines >= -1.0  # below that are failures to enrol
    if len(np.unique(cosines[usable])) < 3:
        raise EvaluationError("the cosines of strangers are all alike: there is no curve for this model")
    return _Tail(rates[usable], cosines[usable], len(impostor))


def _anchor(impostor: Floats, tail: _Tail, parabola: Parabola, similarity: float, rate: float) -> Anchor:
    if enough(rate * len(impostor)):
        return Anchor(similarity, rate, threshold_at(impostor, rate), deviation=None)
    return Anchor(similarity, rate, _cosine(parabola, math.log10(rate)), tail.deviation(math.log10(rate)))


def _cosine(parabola: Parabola, log_rate: float) -> float:
    """Solve the parabola for its falling side; infinity where it never gets there."""
    quadratic, linear, constant = parabola
    missing = constant - log_rate
    if quadratic == 0.0:
        return -missing / linear if linear < 0.0 else math.inf
    root = linear * linear - 4.0 * quadratic * missing
    return (-linear - math.sqrt(root)) / (2.0 * quadratic) if root >= 0.0 else math.inf


def _log_odds(similarity: float) -> float:
    return math.log(similarity / (100.0 - similarity))
