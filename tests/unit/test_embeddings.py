"""Arithmetic on embeddings: the vector that stands for a user's faces."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.embeddings import cosine, mean
from tests.factories import Embeddings, lookalikes, random_embeddings

SEEDS = st.integers(0, 2**32 - 1)


def stored(embeddings: Embeddings) -> list[bytes]:
    return [embedding.tobytes() for embedding in embeddings]


def array(embedding: bytes) -> Embeddings:
    return np.frombuffer(embedding, "<f4")


@given(seed=SEEDS, count=st.integers(1, 100))
def test_a_mean_has_unit_length_and_the_form_of_an_embedding(seed: int, count: int) -> None:
    result = mean(stored(random_embeddings(np.random.default_rng(seed), count)))
    assert len(result) == 128 * 4
    assert np.linalg.norm(array(result)) == pytest.approx(1, abs=1e-6)


@given(seed=SEEDS, count=st.integers(1, 20))
def test_no_other_unit_vector_is_closer_to_the_faces_on_average(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    faces = random_embeddings(rng, count)
    best = array(mean(stored(faces)))
    reached = float(np.mean(faces @ best))
    near, far = lookalikes(rng, best, 100, noise=0.01), random_embeddings(rng, 100)
    for others in (near, far, faces):
        assert np.all(np.mean(faces @ others.T, axis=0) <= reached + 1e-6)


@given(seed=SEEDS, count=st.integers(1, 20))
def test_a_mean_knows_no_order_and_counts_every_face_the_same(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    faces = random_embeddings(rng, count)
    result = array(mean(stored(faces)))
    assert result == pytest.approx(array(mean(stored(faces[rng.permutation(count)]))), abs=1e-6)
    assert result == pytest.approx(array(mean(stored(np.concatenate([faces, faces])))), abs=1e-6)


@given(seed=SEEDS)
def test_the_mean_of_one_face_is_the_face(seed: int) -> None:
    (face,) = random_embeddings(np.random.default_rng(seed), 1)
    assert array(mean([face.tobytes()])) == pytest.approx(face, abs=1e-6)


def test_opposite_faces_have_a_mean_too() -> None:
    (face,) = random_embeddings(np.random.default_rng(1), 1)
    result = mean([face.tobytes(), (-face).tobytes()])
    assert np.linalg.norm(array(result)) == pytest.approx(1, abs=1e-6)


@given(seed=SEEDS)
def test_a_cosine_is_1_to_itself_and_minus_1_to_the_opposite(seed: int) -> None:
    one, other = random_embeddings(np.random.default_rng(seed), 2)
    assert cosine(one.tobytes(), one.tobytes()) == pytest.approx(1, abs=1e-6)
    assert cosine(one.tobytes(), (-one).tobytes()) == pytest.approx(-1, abs=1e-6)
    assert cosine(one.tobytes(), other.tobytes()) == pytest.approx(cosine(other.tobytes(), one.tobytes()), abs=1e-7)
