"""The fitted curve: what was published comes out again, and what was not seen is said to be extrapolated."""

import math

import numpy as np
import pytest

from app.domain.face_models import VERSION_1
from workers.evaluation.errors import EvaluationError
from workers.evaluation.fitting import fit
from workers.vision.arrays import Floats

#: log10 FMR of version 1.0 on all pairs of LFW.
PUBLISHED = (-27.928, 3.441, -0.574)


def strangers(count: int, parabola: tuple[float, float, float] = PUBLISHED) -> Floats:
    """Give cosines whose false match rates follow a parabola, ascending."""
    quadratic, linear, constant = parabola
    rates = (np.arange(count, 0, -1) - 0.5) / count
    highest = constant - linear**2 / (4 * quadratic)  # above its top the parabola says nothing
    missing = constant - np.minimum(np.log10(rates), highest - 1e-9)
    return np.asarray((-linear - np.sqrt(linear**2 - 4 * quadratic * missing)) / (2 * quadratic), np.float32)


LARGE = strangers(2_000_000)


def test_the_published_curve_comes_out_of_pairs_that_show_both_anchors() -> None:
    found = fit(strangers(20_000_000))
    assert [anchor.extrapolated for anchor in found.anchors] == [False, False]
    assert [anchor.cosine for anchor in found.anchors] == [
        pytest.approx(0.418, abs=2e-3),
        pytest.approx(0.507, abs=2e-3),
    ]
    assert found.curve.slope == pytest.approx(VERSION_1.curve.slope, rel=0.02)
    assert found.curve.offset == pytest.approx(VERSION_1.curve.offset, rel=0.02)


@pytest.mark.parametrize("count", [2_000, 100_000])
def test_what_is_too_rare_to_be_seen_is_extrapolated_along_the_parabola(count: int) -> None:
    found = fit(strangers(count))
    assert [anchor.extrapolated for anchor in found.anchors] == [count < 100_000, True]
    assert found.anchors[1].cosine == pytest.approx(0.507, abs=0.01)
    assert found.lowest_rate_seen == pytest.approx(10 / count)


def drawn(count: int, seed: int) -> Floats:
    """Draw cosines at random that follow the parabola, ascending."""
    places = np.sort(np.random.default_rng(seed).choice(LARGE, count))
    return np.asarray(places)


@pytest.mark.parametrize("count", [3_000, 30_000, 100_000])
def test_a_deviation_is_about_what_other_draws_show(count: int) -> None:
    fits = [fit(drawn(count, seed)) for seed in range(12)]
    spread = float(np.std([found.anchors[1].cosine for found in fits]))
    told = float(np.median([found.anchors[1].deviation or 0.0 for found in fits]))
    assert 0.5 < told / spread < 2.0


def test_what_is_seen_has_no_deviation_of_an_extrapolation() -> None:
    assert [anchor.deviation is None for anchor in fit(LARGE).anchors] == [True, False]


def test_the_curve_goes_through_its_anchors() -> None:
    found = fit(strangers(50_000))
    for anchor in found.anchors:
        assert found.curve.similarity(anchor.cosine) == pytest.approx(anchor.similarity)


def test_normal_cosines_give_the_anchors_of_the_normal_distribution() -> None:
    cosines = np.sort(np.random.default_rng(0).normal(0.08, 0.09, 1_000_000)).astype(np.float32)
    found = fit(cosines)
    assert found.anchors[0].cosine == pytest.approx(0.08 + 0.09 * 3.719, abs=0.01)
    assert found.anchors[1].cosine == pytest.approx(0.08 + 0.09 * 4.753, abs=0.02)


def test_a_heavy_tail_is_followed_by_a_line() -> None:
    cosines = np.sort(np.minimum(np.random.default_rng(0).exponential(0.05, 50_000), 1.0)).astype(np.float32)
    found = fit(cosines)
    assert found.anchors[1].cosine == pytest.approx(0.05 * math.log(1e6), rel=0.15)


def test_failures_to_enrol_leave_the_curve_as_it_is() -> None:
    cosines = strangers(100_000)
    with_failures = np.concatenate([np.full(1_000, -np.inf, np.float32), cosines])
    assert fit(with_failures).curve.slope == pytest.approx(fit(cosines).curve.slope, rel=0.02)


@pytest.mark.parametrize(
    ("cosines", "said"),
    [
        (strangers(999), "needs 1000 pairs of strangers"),
        (np.zeros(2_000, np.float32), "all alike"),
        (np.sort(np.random.default_rng(0).uniform(0.9, 1.0, 2_000)).astype(np.float32), "no curve for this model"),
        (np.sort(np.random.default_rng(0).normal(0.5, 0.2, 2_000)).astype(np.float32), "no curve for this model"),
    ],
)
def test_what_cannot_be_fitted_is_refused(cosines: Floats, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        fit(cosines)
