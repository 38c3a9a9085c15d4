"""One evaluation from pictures to figures: ours, and of each peer on the same pictures and pairs."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.domain.face_models import SimilarityCurve
from workers.evaluation import metrics, scores, search
from workers.evaluation.datasets import Dataset
from workers.evaluation.enrolment import Enrolment, Recognizer, enrol
from workers.evaluation.fitting import Fit, fit
from workers.evaluation.metrics import Accuracy, OperatingPoint
from workers.evaluation.scores import Scores
from workers.evaluation.search import Search

#: What callers set as a threshold; 80 is the API's default.
SIMILARITIES = (50.0, 70.0, 80.0, 90.0, 95.0, 97.0, 99.0, 99.9)


@dataclass(frozen=True, slots=True, eq=False)
class Verification:
    """How one recognizer did on the pairs."""

    name: str
    failures: dict[int, str]
    seconds: float
    scores: Scores
    accuracy: Accuracy | None
    equal_error_rate: float | None
    points: list[OperatingPoint]


@dataclass(frozen=True, slots=True)
class AtSimilarity:
    """What a similarity threshold does: how many pairs of strangers it lets match, and what share of genuine ones."""

    similarity: float
    cosine: float
    false_matches: int
    false_match_rate: float | None
    true_match_rate: float | None

    @property
    def can_tell(self) -> bool:
        """Whether the false matches are enough to make a rate of them."""
        return metrics.enough(self.false_matches)


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """All that was found."""

    dataset: Dataset
    ours: Verification
    curve: SimilarityCurve
    at_similarity: list[AtSimilarity]
    searches: list[Search]
    fit: Fit | None
    peers: list[Verification]


def evaluate(
    dataset: Dataset,
    recognizer: Recognizer,
    peers: Sequence[Recognizer],
    *,
    curve: SimilarityCurve,
    fitted: bool,
    galleries: Sequence[int],
    threads: int,
    count: Callable[[str, int], None],
) -> Evaluation:
    """Look at all pictures and count; `count` is told the recognizer and how many pictures it has seen.

    With `fitted`, the curve that the pictures themselves give takes the place of the version's own.
    """
    if dataset.pairs is None:
        scores.check(len(dataset.pictures))
    for size in galleries:
        search.check(dataset.persons, size)
    ours, enrolment = _verify(dataset, recognizer, threads, count)
    found = fit(ours.scores.impostor) if fitted else None
    curve = curve if found is None else found.curve
    return Evaluation(
        dataset,
        ours,
        curve,
        [_at_similarity(ours.scores, curve, similarity) for similarity in SIMILARITIES],
        [search.search(enrolment, dataset.persons, size) for size in galleries],
        found,
        [_verify(dataset, peer, threads, count)[0] for peer in peers],
    )


def _verify(
    dataset: Dataset, recognizer: Recognizer, threads: int, count: Callable[[str, int], None]
) -> tuple[Verification, Enrolment]:
    began = time.monotonic()
    enrolment = enrol(dataset.pictures, recognizer, threads=threads, count=lambda done: count(recognizer.name, done))
    seconds = time.monotonic() - began
    if dataset.pairs is None:
        found, accuracy = scores.score_all(enrolment, dataset.persons), None
    else:
        found, values = scores.score_pairs(enrolment, dataset.pairs)
        accuracy = metrics.accuracy(values, dataset.pairs)
    points = [metrics.operating_point(found, rate) for rate in metrics.RATES]
    error = metrics.equal_error_rate(found)
    return Verification(recognizer.name, enrolment.failures, seconds, found, accuracy, error, points), enrolment


def _at_similarity(found: Scores, curve: SimilarityCurve, similarity: float) -> AtSimilarity:
    cosine = curve.cosine(similarity)
    false = metrics.share_at(found.impostor, cosine)
    false_matches = round((false or 0.0) * len(found.impostor))
    return AtSimilarity(similarity, cosine, false_matches, false, metrics.share_at(found.genuine, cosine))
