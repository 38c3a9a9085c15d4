"""Scores of pairs, and searches, against comparing one by one."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.made import make_enrolment, make_people
from workers.evaluation import scores as module
from workers.evaluation.errors import EvaluationError
from workers.evaluation.pairs import Pairs
from workers.evaluation.scores import score_all, score_pairs
from workers.evaluation.search import check, search

SEEDS = st.integers(0, 1_000)


@settings(max_examples=25)
@given(seed=SEEDS, persons=st.integers(1, 12), pictures=st.integers(1, 4), block=st.integers(1, 50))
def test_all_pairs_are_scored_once(seed: int, persons: int, pictures: int, block: int) -> None:
    embeddings, names = make_people(seed, persons, pictures)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        found = score_all(make_enrolment(embeddings), names)
    expected: dict[bool, list[float]] = {True: [], False: []}
    for one, other in combinations(range(len(names)), 2):
        expected[names[one] == names[other]].append(float(embeddings[one] @ embeddings[other]))
    assert found.genuine == pytest.approx(sorted(expected[True]), abs=1e-6)
    assert found.impostor == pytest.approx(sorted(expected[False]), abs=1e-6)
    tops = sorted(expected[False], reverse=True)[: module.EXAMPLES]
    assert [example.score for example in found.alike] == pytest.approx(tops, abs=1e-6)


def test_listed_pairs_and_all_pairs_agree() -> None:
    embeddings, names = make_people(3, 8, 3)
    enrolment = make_enrolment(embeddings, 5)
    left, right = map(np.array, zip(*combinations(range(len(names)), 2), strict=True))
    same = np.array([names[one] == names[other] for one, other in zip(left, right, strict=True)])
    listed, values = score_pairs(enrolment, Pairs(left, right, same, np.zeros(len(same), int)))
    everything = score_all(enrolment, names)
    assert listed.genuine == pytest.approx(everything.genuine, abs=1e-6)
    assert listed.impostor == pytest.approx(everything.impostor, abs=1e-6)
    assert np.sort(values[same]) == pytest.approx(listed.genuine)
    assert [example.score for example in listed.unlike] == pytest.approx(
        [example.score for example in everything.unlike], abs=1e-6
    )


def test_a_picture_that_was_not_enrolled_scores_below_everything_and_is_no_example() -> None:
    embeddings, names = make_people(4, 3, 2)
    found = score_all(make_enrolment(embeddings, 0), names)
    assert np.isneginf(found.genuine).tolist() == [True, False, False]
    assert int(np.isneginf(found.impostor).sum()) == 4
    assert len(found.unlike) == 2


def test_scores_by_distance_rank_as_distances_do() -> None:
    vectors = np.random.default_rng(5).standard_normal((20, 4)).astype(np.float32)
    enrolment = make_enrolment(vectors, by_distance=True)
    places = np.arange(20)
    distances = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    assert enrolment.scores(places, places) == pytest.approx(-0.5 * distances**2, abs=1e-4)
    assert enrolment.paired(places[:10], places[10:]) == pytest.approx(
        -0.5 * distances[places[:10], places[10:]] ** 2, abs=1e-4
    )


def test_the_lesser_norm_of_a_pair_stands_for_it() -> None:
    embeddings, names = make_people(6, 1, 2)
    enrolment = make_enrolment(embeddings)
    enrolment.norms[:] = (11.0, 7.0)
    assert score_all(enrolment, names).norms.tolist() == [7.0]


def test_more_pictures_than_pairs_can_be_held_of_are_refused() -> None:
    module.check(module.MOST_PICTURES)
    with pytest.raises(EvaluationError, match="20000 are the most"):
        module.check(module.MOST_PICTURES + 1)


AXES = np.eye(4, dtype=np.float32)


def test_a_search_is_counted_as_by_hand() -> None:
    # Ada and Bea are the only two persons with a chance to be enrolled: everybody is, but for one stranger.
    embeddings = np.array([AXES[0], AXES[0], AXES[1], AXES[1] * 0.6 + AXES[0] * 0.8, AXES[2]], np.float32)
    names = ["ada", "ada", "bea", "bea", "cid"]
    everybody = search(make_enrolment(embeddings), names, 3)
    assert (everybody.gallery, len(everybody.found), len(everybody.strangers)) == (3, 2, 0)
    assert everybody.rank_one == 0.5  # Bea's second picture is closer to Ada
    assert everybody.true_positive_rate(0.9) == 0.5
    assert everybody.false_positive_rate(0.9) is None


@settings(max_examples=25)
@given(seed=SEEDS, size=st.integers(1, 10), threshold=st.floats(-1, 1, width=32))
def test_rates_of_a_search_are_those_of_comparing_one_by_one(seed: int, size: int, threshold: float) -> None:
    embeddings, names = make_people(seed, 10, 3, dimension=4)
    found = search(make_enrolment(embeddings), names, size)
    chosen = np.random.default_rng(0).permutation(10)[:size]
    gallery = {name: embeddings[names.index(name)] for place, name in enumerate(sorted(set(names))) if place in chosen}
    hits, candidates = [], []
    for place, name in enumerate(names):
        if name in gallery and place == names.index(name):
            continue
        scores = {person: float(embeddings[place] @ one) for person, one in gallery.items()}
        first = max(scores, key=lambda person: scores[person])
        if name in gallery:
            hits.append(first == name and scores[first] >= threshold)
        else:
            candidates.append(scores[first] >= threshold)
    assert found.true_positive_rate(threshold) == pytest.approx(np.mean(hits))
    assert found.false_positive_rate(threshold) == (pytest.approx(np.mean(candidates)) if candidates else None)


def test_somebody_who_was_not_enrolled_is_found_by_no_search() -> None:
    embeddings, names = make_people(7, 4, 2)
    found = search(make_enrolment(embeddings, *range(0, 8, 2)), names, 4)  # first pictures are those enrolled
    assert found.rank_one == 0.0


@pytest.mark.parametrize("size", [0, 5])
def test_a_gallery_needs_its_persons(size: int) -> None:
    with pytest.raises(EvaluationError, match="cannot be made of 4"):
        check(["ann", "bea", "bea", "cid", "dan"], size)
