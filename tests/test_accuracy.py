"""docs/ACCURACY.md stays true: its table is what the curve, the published false match rates and arithmetic give."""

import re
from pathlib import Path

import pytest

from app.domain.face_models import VERSION_1
from workers.evaluation import metrics, scores
from workers.evaluation.fitting import ANCHORS, FEWEST_IMPOSTORS

TEXT = (Path(__file__).parent.parent / "docs" / "ACCURACY.md").read_text()
ROWS = [tuple(map(float, row.strip("| ").split("|"))) for row in re.findall(r"^\| [\d.]+ \|.*$", TEXT, re.MULTILINE)]

#: log10 of the false match rate on all pairs of LFW, as a parabola in the cosine; its largest error there is 0.07 decades.
PUBLISHED = (-27.928, 3.441, -0.574)


def published_rate(cosine: float) -> float:
    quadratic, linear, constant = PUBLISHED
    return float(10 ** (quadratic * cosine**2 + linear * cosine + constant))


def test_the_table_has_every_threshold_that_is_evaluated() -> None:
    assert [row[0] for row in ROWS] == [50, 70, 80, 90, 95, 97, 99, 99.9]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]:g}")
def test_a_row_of_the_table_is_what_the_curve_and_the_rates_give(row: tuple[float, ...]) -> None:
    similarity, cosine, false_match_rate, _, among_1_000, among_10_000 = row
    assert VERSION_1.curve.cosine(similarity) == pytest.approx(cosine, abs=1e-3)
    assert false_match_rate == pytest.approx(published_rate(cosine), rel=0.08)
    assert among_1_000 == pytest.approx(metrics.false_candidate(false_match_rate, 1_000), rel=0.05)
    assert among_10_000 == pytest.approx(metrics.false_candidate(false_match_rate, 10_000), rel=0.05)


def test_fewer_strangers_match_as_thresholds_rise_and_fewer_friends_too() -> None:
    for column in (2, 3):
        values = [row[column] for row in ROWS]
        assert values == sorted(values, reverse=True)


def test_the_anchors_of_the_curve_are_those_that_are_promised() -> None:
    assert ANCHORS == ((80.0, 1e-4), (99.0, 1e-6))
    for similarity, rate in ANCHORS:
        assert published_rate(VERSION_1.curve.cosine(similarity)) == pytest.approx(rate, rel=0.08)


def test_the_formulas_and_bounds_in_the_text_are_those_of_the_code() -> None:
    assert f"{VERSION_1.curve.slope} · cosine − {VERSION_1.curve.offset}" in TEXT
    quadratic, linear, constant = (f"{abs(value)}" for value in PUBLISHED)
    assert f"−{quadratic} c² + {linear} c − {constant}" in TEXT
    assert f"up to {scores.MOST_PICTURES:,} pictures" in TEXT
    assert f"Fewer than {FEWEST_IMPOSTORS:,} pairs of strangers" in TEXT
    assert metrics.FEWEST_ERRORS == 10
