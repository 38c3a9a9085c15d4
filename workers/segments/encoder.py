"""Embeddings to codes, in blocks as faiss's fast scan reads them.

Invariant: the steps that say the errors of a row are rounded up, over all rows that were ever coded.
"""

from typing import Any

import faiss
import numpy as np

from workers.segments.codebook import BLOCK, EXTRA, PAIR, STEPS, Codebook, rotate_at_random
from workers.vision.arrays import Floats

#: Which shares of the rows have an error below each step; fine where errors are large, because there rounding up costs most.
_SHARES = 1 - (1 - np.arange(1, STEPS) / STEPS) ** 2

#: More teach the pairs nothing, and take longer than to code a million rows.
_TRAINED_ROWS = 512 * STEPS


class Encoder:
    """Learns the pairs from some embeddings, then codes all of them."""

    def __init__(self, sample: Floats) -> None:
        faiss.omp_set_num_threads(1)  # a setting of each thread
        self._dimension = sample.shape[1]
        self._rotation = rotate_at_random(self._dimension)
        self._quantizer = faiss.ProductQuantizer(self._dimension, self._dimension // PAIR, 4)
        self._quantizer.cp.min_points_per_centroid = 1
        self._quantizer.cp.max_points_per_centroid = _TRAINED_ROWS // STEPS
        some = np.random.default_rng().permutation(len(sample))[:_TRAINED_ROWS]
        rotated = sample[some] @ self._rotation
        self._quantizer.train(rotated)
        shortening, straying = self._errors(rotated, self._quantizer.compute_codes(rotated))
        self._bounds = [np.quantile(error, _SHARES) for error in (shortening, straying)]
        self._most = np.zeros((2, STEPS), dtype=np.float32)

    def encode(self, embeddings: Floats) -> bytes:
        """Give the codes of embeddings in whole blocks; only the last ones of a file may leave a block unfilled."""
        rotated = np.ascontiguousarray(embeddings @ self._rotation, dtype=np.float32)
        codes = self._quantizer.compute_codes(rotated)
        steps = [self._step(which, error).astype(np.uint8) for which, error in enumerate(self._errors(rotated, codes))]
        return _pack(np.column_stack([codes, steps[0] | steps[1] << 4]), self._dimension)

    def _errors(self, rotated: Floats, codes: Any) -> tuple[Floats, Floats]:
        """Give how much of each row's length its code has lost, and how long the part is that points elsewhere."""
        coded = self._quantizer.decode(codes)
        along = np.einsum("rn,rn->r", rotated, coded)
        length = np.einsum("rn,rn->r", coded, coded)
        return 1.0 - along, np.sqrt(np.maximum(length - along**2, 0.0))

    def _step(self, which: int, error: Floats) -> Any:
        steps = np.searchsorted(self._bounds[which], error)
        np.maximum.at(self._most[which], steps, error.astype(np.float32))
        return steps

    def codebook(self) -> Codebook:
        """Give what all that was coded is read with."""
        pairs = faiss.vector_to_array(self._quantizer.centroids).reshape(-1, STEPS, PAIR)
        errors = np.zeros((2, STEPS, PAIR), dtype=np.float32)
        errors[:, :, 0] = np.nextafter(self._most, np.float32(np.inf))
        return Codebook(self._rotation, np.concatenate([pairs, errors]))


def _pack(codes: Any, dimension: int) -> bytes:
    """Lay codes out in blocks; faiss has one way to do that with codes that were made already."""
    plain = faiss.IndexPQ(dimension + EXTRA, (dimension + EXTRA) // PAIR, 4, faiss.METRIC_INNER_PRODUCT)
    plain.is_trained = True
    plain.add_sa_codes(np.ascontiguousarray(codes))
    packed = faiss.IndexPQFastScan(plain, BLOCK)
    return bytes(faiss.rev_swig_ptr(packed.codes.get(), packed.codes.size()))
