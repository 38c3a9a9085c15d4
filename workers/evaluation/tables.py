"""The figures of an evaluation as rows of text, the same on the screen and in the report."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from workers.evaluation.evaluation import AtSimilarity, Evaluation, Verification
from workers.evaluation.fitting import Anchor, Fit
from workers.evaluation.metrics import OperatingPoint, false_candidate
from workers.evaluation.search import Search

#: Persons in the galleries for which false candidates are told.
GALLERIES = (1_000, 10_000)


@dataclass(frozen=True, slots=True)
class Table:
    """A caption, titles, rows of cells."""

    caption: str
    titles: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(evaluation: Evaluation) -> Iterator[Table]:
    """Give every table that there is something to say in."""
    all_ = [evaluation.ours, *evaluation.peers]
    yield Table("Pairs", ("", *(one.name for one in all_)), list(_verification(evaluation, all_)))
    yield Table(
        "Thresholds" + (" on the fitted curve" if evaluation.fit else ""),
        (
            "similarity",
            "cosine",
            "FMR",
            "TMR",
            *(f"false candidate in {size:,}" for size in GALLERIES),
        ),
        [_at_similarity(row) for row in evaluation.at_similarity],
    )
    for one in evaluation.searches:
        yield _search(one, evaluation.at_similarity)
    if evaluation.fit is not None:
        yield _fit(evaluation.fit)


def _verification(evaluation: Evaluation, all_: list[Verification]) -> Iterator[tuple[str, ...]]:
    pictures = len(evaluation.dataset.pictures)
    yield "pictures", *(f"{pictures:,}" for _ in all_)
    yield "failures to enrol", *(f"{len(one.failures):,}" for one in all_)
    yield "pairs of one person", *(f"{len(one.scores.genuine):,}" for one in all_)
    yield "pairs of two persons", *(f"{len(one.scores.impostor):,}" for one in all_)
    yield "accuracy", *(_accuracy(one) for one in all_)
    yield "equal error rate", *(_percent(one.equal_error_rate) for one in all_)
    for points in zip(*(one.points for one in all_), strict=True):
        yield f"TAR at FMR {points[0].false_match_rate:.0e}", *(_point(point) for point in points)


def _accuracy(one: Verification) -> str:
    accuracy = one.accuracy
    return "no folds" if accuracy is None else f"{accuracy.mean:.4f} ± {accuracy.deviation:.4f}, {accuracy.folds} folds"


def _point(point: OperatingPoint) -> str:
    if point.expected_errors < 1 or point.true_match_rate is None:
        return "cannot tell"
    seen = f"{point.true_match_rate:.4f}"
    return seen if point.can_tell else f"cannot tell ({seen} at false matches: {point.expected_errors:.0f})"


def _at_similarity(row: AtSimilarity) -> tuple[str, ...]:
    rate = row.false_match_rate
    told = row.can_tell and rate is not None
    return (
        f"{row.similarity:g}",
        f"{row.cosine:.3f}",
        f"{rate:.1e}" if told else f"cannot tell (false matches: {row.false_matches})",
        _share(row.true_match_rate),
        *(f"{false_candidate(rate, size):.3f}" if told and rate is not None else "-" for size in GALLERIES),
    )


def _search(one: Search, rows: list[AtSimilarity]) -> Table:
    caption = (
        f"Search among {one.gallery:,} persons: {len(one.found):,} searches of them, {len(one.strangers):,} of strangers, "
        f"rank one {_share(one.rank_one)}"
    )
    cells = [
        (f"{row.similarity:g}", _share(one.true_positive_rate(row.cosine)), _share(one.false_positive_rate(row.cosine)))
        for row in rows
    ]
    return Table(caption, ("similarity", "TPIR", "FPIR"), cells)


def _fit(fit: Fit) -> Table:
    rows = [(f"{one.similarity:g}", f"{one.false_match_rate:.0e}", *_anchor(one, fit)) for one in fit.anchors]
    curve = f"--curve {fit.curve.slope:.3f} {fit.curve.offset:.3f}"
    return Table(f"Fitted: rekollect models add … {curve}", ("similarity", "FMR", "cosine", ""), rows)


def _anchor(anchor: Anchor, fit: Fit) -> tuple[str, str]:
    if anchor.deviation is None:
        return f"{anchor.cosine:.3f}", "seen"
    told = f"{anchor.cosine:.3f} ± {anchor.deviation:.3f} at least"
    return told, f"extrapolated: these pairs tell rates down to {fit.lowest_rate_seen:.0e}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"
