"""Geometry of faces: the transform to the template, and the head's pose with the signs that Rekognition uses."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.vision.alignment import CROP_SIZE, TEMPLATE, align, similarity_transform
from workers.vision.arrays import Floats
from workers.vision.quality import confidence, luma_and_sharpness, pose, sharpness


def moved(points: Floats, scale: float, angle: float, x: float, y: float) -> Floats:
    turn = scale * np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return points @ turn.T + [x, y]


@given(st.floats(0.05, 20.0), st.floats(-3.1, 3.1), st.floats(-5000, 5000), st.floats(-5000, 5000))
def test_scale_rotation_and_shift_are_recovered(scale: float, angle: float, x: float, y: float) -> None:
    matrix = similarity_transform(TEMPLATE, moved(TEMPLATE, scale, angle, x, y))
    assert math.hypot(matrix[0, 0], matrix[1, 0]) == pytest.approx(scale, rel=1e-6)
    assert matrix[0, 0] == pytest.approx(scale * math.cos(angle), abs=1e-6 * scale)
    assert matrix[1, 0] == pytest.approx(scale * math.sin(angle), abs=1e-6 * scale)
    assert matrix[:, 2] == pytest.approx([x, y], abs=1e-5 * scale + 1e-6)


@given(st.floats(0.1, 10.0), st.floats(-3.1, 3.1), st.integers(0, 2**31))
def test_no_other_similarity_fits_noisy_points_better(scale: float, angle: float, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0.0, 2.0, TEMPLATE.shape)
    source = moved(TEMPLATE, scale, angle, 30.0, 40.0) + noise * scale
    matrix = similarity_transform(source, TEMPLATE)

    def error(candidate: Floats) -> float:
        return float(((source @ candidate[:, :2].T + candidate[:, 2] - TEMPLATE) ** 2).sum())

    for change in ([[0.01, 0, 0], [0, 0.01, 0]], [[0, -0.01, 0], [0.01, 0, 0]], [[0, 0, 0.1], [0, 0, 0]]):
        assert error(matrix) <= error(matrix + np.array(change)) + 1e-9


def test_points_that_coincide_do_not_break_the_transform() -> None:
    assert np.isfinite(similarity_transform(np.full((5, 2), 7.0), TEMPLATE)).all()


def test_a_face_that_fits_the_template_is_cut_out_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (CROP_SIZE, CROP_SIZE, 3), np.uint8)
    crops = align(picture, TEMPLATE[None])
    assert np.array_equal(crops[0], picture)


# Landmarks (left eye, right eye, nose, mouth corners) in units of the picture's width, with the pose that Rekognition
# itself gave for them: public captures of its answers.
CAPTURES = [
    ([[0.472, 0.150], [0.532, 0.153], [0.501, 0.183], [0.474, 0.211], [0.524, 0.214]], (3.1, 1.1, 2.5)),
    ([[0.448, 0.635], [0.643, 0.605], [0.596, 0.748], [0.497, 0.958], [0.642, 0.934]], (-8.6, 23.4, 8.2)),
    ([[0.069, 0.216], [0.104, 0.210], [0.097, 0.239], [0.075, 0.267], [0.107, 0.262]], (-8.8, 20.3, -1.0)),
    ([[0.497, 0.388], [0.618, 0.373], [0.551, 0.495], [0.524, 0.588], [0.624, 0.577]], (-7.3, -33.3, -6.0)),
    ([[0.409, 0.425], [0.583, 0.449], [0.481, 0.539], [0.397, 0.576], [0.563, 0.597]], (7.9, -2.5, -8.6)),
]


@pytest.mark.parametrize(("points", "expected"), CAPTURES)
def test_the_pose_is_near_rekognitions_own(points: list[list[float]], expected: tuple[float, float, float]) -> None:
    roll, yaw, pitch = expected
    measured = pose(np.array(points))
    assert measured.roll == pytest.approx(roll, abs=3)
    assert measured.yaw == pytest.approx(yaw, abs=20)
    assert measured.pitch == pytest.approx(pitch, abs=15)


def test_a_nose_to_the_right_is_a_positive_yaw_and_a_raised_one_a_positive_pitch() -> None:
    right, raised = TEMPLATE.copy(), TEMPLATE.copy()
    right[2, 0] += 8
    raised[2, 1] -= 8
    straight = pose(TEMPLATE)
    assert pose(right).yaw > straight.yaw + 10
    assert pose(raised).pitch > straight.pitch + 5


@given(st.floats(0.1, 10.0), st.floats(-1000, 1000), st.floats(-1000, 1000))
def test_the_pose_does_not_depend_on_where_and_how_large_a_face_is(scale: float, x: float, y: float) -> None:
    here, there = pose(TEMPLATE), pose(moved(TEMPLATE, scale, 0.0, x, y))
    assert (there.roll, there.yaw, there.pitch) == pytest.approx((here.roll, here.yaw, here.pitch), abs=1e-3)


def test_confidence_goes_through_the_measured_points() -> None:
    scores = (0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
    assert [confidence(score) for score in scores] == pytest.approx([90, 97, 98, 99, 99.9, 100])


def test_a_blurred_crop_is_less_sharp_and_a_flat_one_not_at_all() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (14, 14, 1)).repeat(8, 0).repeat(8, 1).repeat(3, 2)
    flat = np.full((CROP_SIZE, CROP_SIZE, 3), 100, np.uint8)
    luma, normalised = luma_and_sharpness(flat)
    assert (round(luma), sharpness(normalised)) == (100, 0.0)
    assert sharpness(luma_and_sharpness(noise.astype(np.uint8))[1]) > 50
