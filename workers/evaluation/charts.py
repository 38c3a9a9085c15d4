"""The plots of an evaluation: errors against each other (DET), scores under the similarity curve, errors against rejects."""

import math

import numpy as np

from workers.evaluation import metrics
from workers.evaluation.evaluation import Evaluation, Verification
from workers.evaluation.plots import Axis, Chart, decades
from workers.vision.arrays import Floats

KINDS = ("ours", "peer", "other-peer")
MARKED = (80.0, 95.0, 99.0)

_POINTS = 160
_BIN = 0.02
_COSINES = [(tick / 10, f"{tick / 10:g}") for tick in range(-4, 11, 2)]
_MOST_REJECTED = 0.3


def det(evaluation: Evaluation) -> Chart:
    """Plot missed genuine pairs over false matches, both logarithmic; the lower a line, the better."""
    ours = evaluation.ours.scores
    low = min(-2, -round(math.log10(max(len(ours.impostor), 1))))
    misses = min(-1, -math.ceil(math.log10(max(len(ours.genuine), 1))))
    chart = Chart(
        "Detection error trade-off",
        Axis("false match rate", 10.0**low, 1.0, decades(low, 0), logarithmic=True),
        Axis("false non-match rate", 10.0**misses, 1.0, decades(misses, 0), logarithmic=True),
    )
    for kind, one in zip(KINDS, [evaluation.ours, *evaluation.peers], strict=False):
        chart.line(_det(one, low), kind, one.name)
    return chart


def _det(one: Verification, low: int) -> list[tuple[float, float]]:
    points = []
    for rate in np.geomspace(10.0**low, 1.0, _POINTS):
        point = metrics.operating_point(one.scores, float(rate))
        points.append((float(rate), 1.0 - (point.true_match_rate or 0.0)))
    return points


def histogram(evaluation: Evaluation) -> Chart:
    """Plot how the cosines of either kind of pair are spread, each as shares of its own kind."""
    edges = np.arange(-0.4, 1.0 + _BIN / 2, _BIN)
    scores = evaluation.ours.scores
    genuine, impostor = _shares(scores.genuine, edges), _shares(scores.impostor, edges)
    highest = max(float(genuine.max()), float(impostor.max()), 0.01)
    ticks = [(highest * part / 4, f"{100 * highest * part / 4:.1f} %") for part in range(5)]
    chart = Chart("Cosines of pairs", Axis("", -0.4, 1.0, _COSINES), Axis("share of pairs", 0.0, highest, ticks), 280)
    chart.steps(edges.tolist(), impostor.tolist(), "impostor", "two persons")
    chart.steps(edges.tolist(), genuine.tolist(), "genuine", "one person")
    _mark(chart, evaluation)
    return chart


def _shares(ascending: Floats, edges: Floats) -> Floats:
    return np.diff(np.searchsorted(ascending, edges)) / max(len(ascending), 1)


def similarity(evaluation: Evaluation) -> Chart:
    """Plot the similarity curve over the same cosines."""
    axis = Axis("similarity", 0.0, 100.0, [(tick, str(tick)) for tick in range(0, 101, 25)])
    chart = Chart("Similarity of a cosine", Axis("cosine", -0.4, 1.0, _COSINES), axis, 220)
    cosines = np.linspace(-0.4, 1.0, _POINTS)
    chart.line([(c, evaluation.curve.similarity(c)) for c in cosines.tolist()], "ours", "similarity")
    _mark(chart, evaluation)
    return chart


def _mark(chart: Chart, evaluation: Evaluation) -> None:
    for value in MARKED:
        chart.mark(evaluation.curve.cosine(value), f"{value:g}")


def reject(evaluation: Evaluation) -> Chart:
    """Plot missed genuine pairs when those with the shortest raw embeddings are left out, at two thresholds."""
    shares = np.linspace(0.0, _MOST_REJECTED, _POINTS)
    lines = {
        similarity: metrics.error_versus_reject(evaluation.ours.scores, evaluation.curve.cosine(similarity), shares)
        for similarity in (99.0, 80.0)
    }
    highest = max(0.01, float(max(line.max() for line in lines.values())))
    chart = Chart(
        "Error versus reject",
        Axis("share of pairs left out, shortest embeddings first", 0.0, _MOST_REJECTED, _percents(_MOST_REJECTED, 6)),
        Axis("false non-match rate", 0.0, highest, _percents(highest, 4)),
    )
    for kind, (threshold, line) in zip(("peer", "ours"), lines.items(), strict=True):
        chart.line(list(zip(shares.tolist(), line.tolist(), strict=True)), kind, f"at similarity {threshold:g}")
    return chart


def _percents(highest: float, parts: int) -> list[tuple[float, str]]:
    return [(highest * part / parts, f"{100 * highest * part / parts:.3g} %") for part in range(parts + 1)]
