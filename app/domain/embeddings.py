"""Arithmetic on embeddings: float32 little-endian bytes of unit length, compared by their cosine."""

import numpy as np


def cosine(one: bytes, other: bytes) -> float:
    """Give the cosine of two embeddings of one face model version, -1..1."""
    return float(_array(one) @ _array(other))


def mean(embeddings: list[bytes]) -> bytes:
    """Give the spherical mean: the normalised sum.

    Of all unit vectors it is the one with the largest mean cosine to its faces, so a user is found by what the
    pictures have in common. Every face counts the same; quality is the business of the filter that let it in.
    """
    total = np.sum([_array(embedding) for embedding in embeddings], axis=0, dtype=np.float64)
    length = float(np.linalg.norm(total))
    if length == 0.0:  # opposite vectors only; any of them is as good
        return embeddings[0]
    return (total / length).astype("<f4").tobytes()


def _array(embedding: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    return np.frombuffer(embedding, dtype="<f4")
