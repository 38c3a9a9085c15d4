"""How an embedding becomes a code, and how far the true cosine may lie from what the code says.

An embedding is rotated at random and cut into pairs of numbers; each pair is replaced by the nearest of sixteen. What that
changes is known of each row when it is coded: how much of its length is lost, and how long the rest is that points elsewhere.
Two more pairs say both, rounded up to one of sixteen steps, and take part in the sum like all others. So one scan compares
with the threshold what the cosine may be at most: by the random rotation, the part that points elsewhere lies to the query as a
random direction does. Of rows at the very threshold one in three million exceeds five deviations of that; of all pictures of
the same person, of which few stand so near to it, one in hundreds of millions.
"""

from dataclasses import dataclass

import numpy as np

from workers.vision.arrays import Floats

STEPS = 16

#: Numbers of a pair, and of the two pairs that say the errors.
PAIR, EXTRA = 2, 4

DEVIATIONS = 5.0

#: Half precision in the rows that were coded, and sums that are compared as whole numbers of a 255th of the largest step.
_ROUNDING = 2e-4


@dataclass(frozen=True, slots=True, eq=False)
class Codebook:
    """What turns embeddings into codes: an orthogonal matrix (n x n), and sixteen pairs for each pair (n/2 + 2, 16, 2)."""

    rotation: Floats
    centroids: Floats

    @property
    def dimension(self) -> int:
        """Numbers of an embedding."""
        return len(self.rotation)

    @property
    def code_bytes(self) -> int:
        """Bytes of a code: half a byte for each pair."""
        return len(self.centroids) // 2

    def ask(self, query: Floats, min_cosine: float) -> tuple[Floats, float]:
        """Turn a query into what is summed over the codes, and give the bar that every row above the threshold reaches."""
        across = np.sqrt(max(0.0, 1.0 - min_cosine**2))
        deviation = across / np.sqrt(self.dimension - 1)
        lengths = np.array([min_cosine, 0.0, DEVIATIONS * deviation, 0.0])
        asked = np.concatenate([query @ self.rotation, lengths]).astype(np.float32)
        return asked, min_cosine - _ROUNDING - self._coarseness(asked, deviation)

    def _coarseness(self, asked: Floats, deviation: float) -> float:
        """Give by how much the scan may be off because it sums whole numbers: two steps, and what their noise adds."""
        sums = np.matmul(self.centroids, asked.reshape(-1, PAIR, 1))
        step = float((sums.max(axis=1) - sums.min(axis=1)).max()) / 255
        variance = len(sums) * step**2 / 12
        least = deviation * float(self.centroids[-1, :, 0].min())
        return float(2 * step + DEVIATIONS * (np.hypot(least, np.sqrt(variance)) - least))


def rotate_at_random(dimension: int) -> Floats:
    """Make a random orthogonal matrix; nobody can know it who made the embeddings."""
    made = np.random.default_rng().standard_normal((dimension, dimension))
    rotation, triangle = np.linalg.qr(made)
    return np.ascontiguousarray(rotation * np.sign(np.diag(triangle)), dtype=np.float32)
