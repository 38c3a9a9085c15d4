"""Faces in an image: overlap of boxes, the quality filter and its reasons, and who is left out above a limit."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.face_models import VERSION_1
from app.domain.faces import (
    BoundingBox,
    DetectedFace,
    Landmarks,
    Measures,
    Pose,
    by_size,
    choose,
    iou,
    quality_reasons,
)

GOOD = Measures(
    brightness=50.0,
    sharpness=90.0,
    luma=128.0,
    normalised_sharpness=0.2,
    width_pixels=120.0,
    detector_score=0.95,
    embedding_norm=12.5,
)


def make_face(size: float = 0.2, yaw: float = 0.0, **measures: Any) -> DetectedFace:
    return DetectedFace(
        box=BoundingBox(0.1, 0.1, size, size),
        confidence=99.9,
        landmarks=Landmarks((0.15, 0.15), (0.25, 0.15), (0.2, 0.2), (0.16, 0.25), (0.24, 0.25)),
        pose=Pose(0.0, yaw, 0.0),
        measures=dataclasses.replace(GOOD, **measures),
        embedding=b"",
    )


boxes = st.builds(BoundingBox, st.floats(-0.5, 1.0), st.floats(-0.5, 1.0), st.floats(0.001, 1.0), st.floats(0.001, 1.0))
faces = st.lists(
    st.builds(make_face, size=st.floats(0.01, 0.9), embedding_norm=st.floats(5.0, 15.0), yaw=st.floats(-90.0, 90.0)),
    max_size=12,
)


@given(boxes, boxes)
def test_overlap_is_a_symmetric_share(one: BoundingBox, other: BoundingBox) -> None:
    assert iou(one, other) == pytest.approx(iou(other, one))
    assert 0.0 <= iou(one, other) <= 1.0 + 1e-9
    assert iou(one, one) == pytest.approx(1.0)


def test_boxes_that_only_touch_do_not_overlap() -> None:
    assert iou(BoundingBox(0.0, 0.0, 0.5, 0.5), BoundingBox(0.5, 0.0, 0.5, 0.5)) == 0.0
    assert iou(BoundingBox(0.0, 0.0, 0.4, 0.4), BoundingBox(0.2, 0.0, 0.4, 0.4)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("face", "reason"),
    [
        (make_face(width_pixels=20.0), "SMALL_BOUNDING_BOX"),
        (make_face(detector_score=0.65), "LOW_CONFIDENCE"),
        (make_face(yaw=-60.0), "EXTREME_POSE"),
        (make_face(normalised_sharpness=0.005), "LOW_SHARPNESS"),
        (make_face(luma=10.0), "LOW_BRIGHTNESS"),
        (make_face(luma=240.0), "LOW_BRIGHTNESS"),
        (make_face(embedding_norm=9.0), "LOW_FACE_QUALITY"),
    ],
)
def test_each_fault_has_rekognitions_reason(face: DetectedFace, reason: str) -> None:
    assert quality_reasons(face, "AUTO", VERSION_1) == (reason,)
    assert quality_reasons(face, "NONE", VERSION_1) == ()


def test_auto_is_the_medium_level_and_high_asks_for_more() -> None:
    face = make_face(embedding_norm=10.0)
    assert quality_reasons(face, "AUTO", VERSION_1) == quality_reasons(face, "MEDIUM", VERSION_1) == ()
    assert quality_reasons(face, "HIGH", VERSION_1) == ("LOW_FACE_QUALITY",)


@given(faces, st.sampled_from(["NONE", "AUTO", "LOW", "MEDIUM", "HIGH"]), st.none() | st.integers(1, 20))
def test_every_face_is_either_chosen_or_rejected_with_a_reason(
    found: list[DetectedFace], level: str, max_faces: int | None
) -> None:
    chosen, rejected = choose(found, level=level, max_faces=max_faces, version=VERSION_1)
    everyone = [*chosen, *(one.face for one in rejected)]
    assert sorted(map(id, everyone)) == sorted(map(id, found))
    assert all(one.reasons for one in rejected)
    assert chosen == by_size(chosen)
    assert max_faces is None or len(chosen) <= max_faces


@given(faces)
def test_a_stricter_level_never_lets_more_through(found: list[DetectedFace]) -> None:
    counts = [
        len(choose(found, level=level, max_faces=None, version=VERSION_1)[0]) for level in ("LOW", "AUTO", "HIGH")
    ]
    assert counts == sorted(counts, reverse=True)


def test_above_the_limit_the_poorest_faces_are_left_out() -> None:
    large_but_poor = make_face(size=0.5, embedding_norm=9.6)
    small_but_good = make_face(size=0.1, embedding_norm=13.0)
    chosen, rejected = choose([large_but_poor, small_but_good], level="AUTO", max_faces=1, version=VERSION_1)
    assert chosen == [small_but_good]
    assert [(one.face, one.reasons) for one in rejected] == [(large_but_poor, ("EXCEEDS_MAX_FACES",))]


def test_of_equally_good_faces_the_smallest_are_left_out() -> None:
    good = [make_face(size=size, embedding_norm=norm) for size, norm in ((0.2, 12.0), (0.3, 11.5), (0.1, 14.0))]
    large_but_poor = make_face(size=0.9, embedding_norm=9.0)
    chosen, rejected = choose([*good, large_but_poor], level="NONE", max_faces=2, version=VERSION_1)
    assert chosen == [good[1], good[0]]
    assert [one.face for one in rejected] == [large_but_poor, good[2]]


def test_no_more_than_a_hundred_faces_are_chosen() -> None:
    chosen, rejected = choose([make_face() for _ in range(103)], level="NONE", max_faces=None, version=VERSION_1)
    assert (len(chosen), len(rejected)) == (100, 3)
