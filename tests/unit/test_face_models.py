"""The similarity curve: its published points, and that nothing is lost between a threshold and a cosine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.face_models import VERSION_1, VERSIONS
from app.service_model.output import float32

CURVE = VERSION_1.curve
cosines = st.floats(-1.0, 1.0)


@pytest.mark.parametrize(
    ("cosine", "similarity", "tolerance"),
    [(0.380, 50, 1.0), (0.418, 80, 0.3), (0.440, 90, 0.4), (0.461, 95, 0.3), (0.507, 99, 0.1), (0.571, 99.9, 0.01)],
)
def test_the_curve_goes_through_the_published_points(cosine: float, similarity: float, tolerance: float) -> None:
    assert CURVE.similarity(cosine) == pytest.approx(similarity, abs=tolerance)


@given(st.floats(0.01, 99.99))
def test_a_threshold_becomes_the_cosine_that_reaches_it(similarity: float) -> None:
    assert CURVE.similarity(CURVE.cosine(similarity)) == pytest.approx(similarity, rel=1e-9)


@given(cosines, cosines)
def test_a_higher_cosine_never_has_a_lower_similarity(one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= CURVE.similarity(low) <= CURVE.similarity(high) <= 100.0


def test_the_ends_of_the_scale_keep_their_meaning() -> None:
    assert CURVE.cosine(0.0) == -1.0
    assert CURVE.cosine(100.0) <= 1.0
    assert round(CURVE.similarity(1.0), 4) == 100.0


def test_a_threshold_of_100_is_reached_by_what_is_answered_as_100_and_by_nothing_less() -> None:
    bar = CURVE.cosine(100.0)
    assert float32(CURVE.similarity(bar + 1e-6)) == 100.0
    assert float32(CURVE.similarity(bar - 1e-6)) < 100.0


def test_versions_are_dotted_numbers_with_pinned_files() -> None:
    for name, version in VERSIONS.items():
        assert name == version.version
        assert all(part.isdigit() for part in name.split("."))
        for file in (version.detector, version.embedder):
            assert len(file.sha256) == 64
            assert file.url.startswith("https://")
        assert set(version.quality_bars) == {"LOW", "MEDIUM", "HIGH"}
