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

#: Rows that one step of the scan looks at.
BLOCK = 128

#: Of the part that points elsewhere: what a row may gain by it.
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

    def ask(self, query: Floats, min_cosine: float) -> tuple[Floats, float] | None:
        """Turn a query into what is summed over the codes, and give the bar that every row above the threshold reaches.

        None where all rows may be above it.
        """
        across = np.sqrt(max(0.0, 1.0 - min_cosine**2))
        deviation = float(across / np.sqrt(self.dimension - 1))
        margins = np.array([min_cosine, 0.0, DEVIATIONS * deviation, 0.0])
        asked = np.concatenate([query @ self.rotation, margins]).astype(np.float32)
        sums = np.matmul(self.centroids, asked.reshape(-1, PAIR, 1))
        least, most = sums.min(axis=1), sums.max(axis=1)
        step = float((most - least).max()) / 255
        bar = min_cosine - _ROUNDING - 2 * step - self._noise(step, deviation)
        # faiss counts steps from the least sum in sixteen bits without a sign, and does not look whether the bar is among them.
        lowest, highest = float(least.sum()) + 2 * step, float(most.sum())
        return None if bar <= lowest else (asked, min(bar, highest))

    def _noise(self, step: float, deviation: float) -> float:
        """Give what it adds to the margin that the scan sums whole steps: each is off by a twelfth of its square."""
        least = deviation * float(self.centroids[-1, :, 0].min())
        return float(DEVIATIONS * (np.hypot(least, step * np.sqrt(len(self.centroids) / 12)) - least))


def rotate_at_random(dimension: int) -> Floats:
    """Make a random orthogonal matrix; nobody can know it who made the embeddings."""
    made = np.random.default_rng().standard_normal((dimension, dimension))
    rotation, triangle = np.linalg.qr(made)
    return np.ascontiguousarray(rotation * np.sign(np.diag(triangle)), dtype=np.float32)
