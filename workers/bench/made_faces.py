"""Made faces that lie as real ones do, as many as wanted.

An embedding is a share of what all faces have in common, a share of its person, and noise, each isotropic. With 0.303, 0.75 and
0.588 of them in 104 of the dimensions, two people meet at a cosine of 0.092 ± 0.089 and two pictures of one at 0.65, which is
what was measured on SFace's embeddings of LFW. Nothing lies closer together than that: no twins, no picture twice.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]

_ALIKE, _PERSON, _NOISE = 0.303, 0.75, 0.588
_EFFECTIVE_SHARE = 104 / 128
_PICTURES = 4  # of each person


def make(rng: np.random.Generator, count: int, dimension: int = 128) -> Embeddings:
    """Make embeddings of people with four pictures each."""
    inner = round(dimension * _EFFECTIVE_SHARE)
    axes = np.linalg.qr(np.random.default_rng(0).standard_normal((dimension, inner)))[0].T.astype("<f4")
    people = rng.standard_normal((-(-count // _PICTURES), inner), dtype="<f4") / np.sqrt(inner)
    own = people.repeat(_PICTURES, axis=0)[:count]
    noise = rng.standard_normal((count, inner), dtype="<f4") / np.sqrt(inner)
    common = np.zeros(inner, dtype="<f4")
    common[0] = 1
    return unit((_ALIKE * common + _PERSON * own + _NOISE * noise) @ axes)


def more_pictures(rng: np.random.Generator, embeddings: Embeddings, count: int) -> Embeddings:
    """Make a picture more of people that some embeddings show."""
    some = embeddings[rng.choice(len(embeddings), count)]
    return unit(0.8 * some + 0.6 * make(rng, count, embeddings.shape[1]))


def unit(vectors: NDArray[Any]) -> Embeddings:
    """Stretch rows to unit length, as an embedder does."""
    stretched: Embeddings = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype("<f4")
    return stretched
