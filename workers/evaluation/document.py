"""An evaluation as a JSON document, for programs: a rate that the data cannot tell is marked, not left out."""

from pathlib import Path
from typing import Any

from workers.evaluation.evaluation import AtSimilarity, Evaluation, Verification
from workers.evaluation.fitting import Fit
from workers.evaluation.scores import Example
from workers.evaluation.search import Search


def document(evaluation: Evaluation) -> dict[str, Any]:
    """Put everything into plain values."""
    pictures = evaluation.dataset.pictures
    return {
        "pictures": len(pictures),
        "persons": len(set(evaluation.dataset.persons)) or None,
        **_verification(evaluation.ours, pictures),
        "curve": {"slope": evaluation.curve.slope, "offset": evaluation.curve.offset},
        "similarity": [_at_similarity(row) for row in evaluation.at_similarity],
        "search": [_search(one, evaluation.at_similarity) for one in evaluation.searches],
        "fit": None if evaluation.fit is None else _fit(evaluation.fit),
        "most_alike_of_two": _examples(evaluation.ours.scores.alike, pictures),
        "least_alike_of_one": _examples(evaluation.ours.scores.unlike, pictures),
        "peers": [_verification(peer, pictures) for peer in evaluation.peers],
    }


def _verification(one: Verification, pictures: list[Path]) -> dict[str, Any]:
    accuracy = one.accuracy
    return {
        "recognizer": one.name,
        "seconds": round(one.seconds, 3),
        "genuine_pairs": len(one.scores.genuine),
        "impostor_pairs": len(one.scores.impostor),
        "failures_to_enrol": {str(pictures[place]): reason for place, reason in one.failures.items()},
        "accuracy": accuracy
        and {"mean": accuracy.mean, "standard_deviation": accuracy.deviation, "folds": accuracy.folds},
        "equal_error_rate": one.equal_error_rate,
        "true_match_rate_at": [
            {
                "false_match_rate": point.false_match_rate,
                "expected_false_matches": point.expected_errors,
                "can_tell": point.can_tell,
                "threshold": point.threshold,
                "true_match_rate": point.true_match_rate,
            }
            for point in one.points
        ],
    }


def _at_similarity(row: AtSimilarity) -> dict[str, Any]:
    return {
        "similarity": row.similarity,
        "cosine": row.cosine,
        "false_matches": row.false_matches,
        "can_tell": row.can_tell,
        "false_match_rate": row.false_match_rate,
        "true_match_rate": row.true_match_rate,
    }


def _search(one: Search, rows: list[AtSimilarity]) -> dict[str, Any]:
    return {
        "gallery": one.gallery,
        "searches_of_enrolled": len(one.found),
        "searches_of_strangers": len(one.strangers),
        "rank_one": one.rank_one,
        "at_similarity": [
            {
                "similarity": row.similarity,
                "true_positive_rate": one.true_positive_rate(row.cosine),
                "false_positive_rate": one.false_positive_rate(row.cosine),
            }
            for row in rows
        ],
    }


def _fit(fit: Fit) -> dict[str, Any]:
    return {
        "slope": fit.curve.slope,
        "offset": fit.curve.offset,
        "log10_false_match_rate": list(fit.parabola),
        "lowest_rate_seen": fit.lowest_rate_seen,
        "anchors": [
            {
                "similarity": anchor.similarity,
                "false_match_rate": anchor.false_match_rate,
                "cosine": anchor.cosine,
                "extrapolated": anchor.extrapolated,
                "deviation": anchor.deviation,
            }
            for anchor in fit.anchors
        ],
    }


def _examples(examples: list[Example], pictures: list[Path]) -> list[dict[str, Any]]:
    return [
        {"left": str(pictures[one.left]), "right": str(pictures[one.right]), "score": one.score} for one in examples
    ]
