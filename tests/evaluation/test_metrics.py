"""Error rates against counting by hand and by brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.made import make_scores
from workers.evaluation import metrics
from workers.evaluation.pairs import Pairs, deal
from workers.vision.arrays import Floats

cosines = st.floats(-1, 1, width=32)
lists = st.lists(cosines, min_size=1, max_size=40)
coarse = st.lists(st.integers(-5, 5).map(lambda value: value / 8), min_size=1, max_size=40)  # many ties

HAND = make_scores(genuine=[0.25, 0.625, 0.75, 0.875], impostor=[-0.5, 0.0, 0.125, 0.5])


def test_rates_are_those_that_a_hand_counts() -> None:
    assert metrics.equal_error_rate(HAND) == 0.25
    assert metrics.share_at(HAND.genuine, 0.625) == 0.75
    none_false = metrics.operating_point(HAND, 0.2)
    assert (none_false.true_match_rate, none_false.threshold) == (0.75, pytest.approx(0.5))
    one_false = metrics.operating_point(HAND, 0.25)
    assert (one_false.true_match_rate, one_false.threshold) == (1.0, pytest.approx(0.125))
    assert metrics.share_at(HAND.impostor, one_false.threshold) == 0.25


def test_scores_that_do_not_overlap_have_no_equal_error_and_equal_ones_have_nothing_else() -> None:
    assert metrics.equal_error_rate(make_scores([0.5, 0.6], [0.1, 0.2])) == 0.0
    assert metrics.equal_error_rate(make_scores([0.1, 0.2], [0.5, 0.6])) == 1.0
    assert metrics.equal_error_rate(make_scores([], [0.5])) is None


@given(coarse, coarse)
def test_the_equal_error_rate_is_the_best_of_all_thresholds(genuine: list[float], impostor: list[float]) -> None:
    scores = make_scores(genuine, impostor)
    thresholds = [*genuine, *impostor, 2.0]
    missed = [np.mean(scores.genuine < threshold) for threshold in thresholds]
    false = [np.mean(scores.impostor >= threshold) for threshold in thresholds]
    assert metrics.equal_error_rate(scores) == pytest.approx(min(map(max, missed, false)))


@given(lists, lists, st.sampled_from([0.0, 0.01, 0.1, 0.25, 0.5, 0.9]))
def test_a_threshold_keeps_its_false_match_rate_and_the_next_lower_score_does_not(
    genuine: list[float], impostor: list[float], rate: float
) -> None:
    scores = make_scores(genuine, impostor)
    point = metrics.operating_point(scores, rate)
    assert np.mean(scores.impostor >= point.threshold) <= rate + 1e-9
    assert point.true_match_rate == pytest.approx(np.mean(scores.genuine >= point.threshold))
    below = scores.impostor[scores.impostor < point.threshold]
    if len(below):
        assert np.mean(scores.impostor >= below[-1]) > rate


@given(lists, lists)
def test_fewer_false_matches_never_come_with_more_true_ones(genuine: list[float], impostor: list[float]) -> None:
    scores = make_scores(genuine, impostor)
    rates = [metrics.operating_point(scores, rate).true_match_rate or 0.0 for rate in metrics.RATES]
    assert rates == sorted(rates, reverse=True)


@given(lists, lists)
def test_rates_depend_on_the_order_of_scores_alone(genuine: list[float], impostor: list[float]) -> None:
    plain, stretched = make_scores(genuine, impostor), make_scores([4 * g for g in genuine], [4 * i for i in impostor])
    assert metrics.equal_error_rate(plain) == metrics.equal_error_rate(stretched)
    for rate in metrics.RATES:
        one, other = metrics.operating_point(plain, rate), metrics.operating_point(stretched, rate)
        assert one.true_match_rate == other.true_match_rate


@pytest.mark.parametrize(("pairs", "told"), [(1_000, {1e-2}), (999, set()), (100_000, {1e-2, 1e-3, 1e-4})])
def test_a_rate_is_told_from_ten_expected_false_matches_on(pairs: int, told: set[float]) -> None:
    scores = make_scores([0.5], np.linspace(-1, 1, pairs).tolist())
    points = [metrics.operating_point(scores, rate) for rate in metrics.RATES]
    assert {point.false_match_rate for point in points if point.can_tell} == told


def test_a_failure_to_enrol_matches_at_no_threshold() -> None:
    scores = make_scores([-np.inf, 0.5], [-np.inf, -np.inf, 0.1])
    assert metrics.operating_point(scores, 0.9).true_match_rate == 0.5
    assert metrics.operating_point(scores, 1.0).true_match_rate == 0.5
    assert metrics.equal_error_rate(scores) == 0.5


def pairs_of(same: list[bool], folds: list[int]) -> Pairs:
    places = np.arange(len(same))
    return Pairs(places, places, np.array(same), np.array(folds))


def test_accuracy_judges_each_fold_by_the_others() -> None:
    # Fold 1 alone chooses 0.25, fold 0 alone 0.45: each errs once on the other's four pairs.
    values = np.array([0.9, 0.5, 0.4, 0.1, 0.8, 0.3, 0.2, 0.1], np.float32)
    same = [True, True, False, False, True, True, False, False]
    found = metrics.accuracy(values, pairs_of(same, [0, 0, 0, 0, 1, 1, 1, 1]))
    assert found is not None
    assert (found.mean, found.folds) == (0.75, 2)
    assert found.deviation == 0.0


def test_accuracy_deviates_as_its_folds_do_and_needs_two_of_them() -> None:
    values = np.array([0.9, 0.1, 0.8, 0.2, 0.1, 0.7], np.float32)
    found = metrics.accuracy(values, pairs_of([True, False, True, False, True, False], [0, 0, 1, 1, 2, 2]))
    assert found is not None
    assert found.mean == pytest.approx(2 / 3)
    assert found.deviation == pytest.approx(np.std([1.0, 1.0, 0.0], ddof=1))
    assert metrics.accuracy(values[:2], pairs_of([True, False], [0, 0])) is None


@given(st.lists(st.tuples(st.integers(-4, 4), st.booleans()), min_size=1, max_size=30))
def test_no_threshold_decides_more_pairs_rightly_than_the_best(marked: list[tuple[int, bool]]) -> None:
    values = np.array([value / 4 for value, _ in marked], np.float32)
    same = np.array([truth for _, truth in marked])

    def right(threshold: float) -> float:
        return float(np.mean((values >= threshold) == same))

    best = right(metrics.best_threshold(values.astype(np.float64), same))
    assert best == max(right(threshold) for threshold in [*values, np.inf])


def test_every_fold_gets_its_share_of_either_kind() -> None:
    same = np.array([True] * 50 + [False] * 30)
    folds = deal(same)
    assert {int(np.sum((folds == fold) & same)) for fold in range(10)} == {5}
    assert {int(np.sum((folds == fold) & ~same)) for fold in range(10)} == {3}


def test_leaving_out_the_shortest_embeddings_removes_the_errors_they_make() -> None:
    scores = make_scores([0.1, 0.2, *[0.9] * 18], [], norms=[6.0, 5.0, *np.linspace(10, 13, 18).tolist()])
    shares = np.array([0.0, 0.05, 0.1, 1.0])
    assert metrics.error_versus_reject(scores, 0.5, shares) == pytest.approx([0.1, 1 / 19, 0.0, 0.0])


@given(lists, st.randoms(use_true_random=False))
def test_without_rejects_the_error_is_the_miss_rate(genuine: list[float], random: "np.random.Generator") -> None:
    norms: Floats = np.array([random.random() for _ in genuine])
    scores = make_scores(genuine, [], norms.tolist())
    found = metrics.error_versus_reject(scores, 0.25, np.array([0.0]))
    assert found[0] == pytest.approx(np.mean(scores.genuine < 0.25))


def test_a_stranger_among_many_is_mistaken_as_independent_comparisons_say() -> None:
    assert metrics.false_candidate(1e-4, 1) == pytest.approx(1e-4)
    assert metrics.false_candidate(1e-4, 1_000) == pytest.approx(1 - (1 - 1e-4) ** 1_000)
    assert metrics.false_candidate(0.0, 1_000) == 0.0
    assert metrics.false_candidate(1.0, 1_000) == 1.0
