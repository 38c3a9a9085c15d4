"""Pairs of pictures, each with the truth about it and the fold that judges it.

Accuracy is told honestly only where a threshold is chosen on other pairs than those it is judged on: that is what folds are
for. A list that comes without them is dealt out over ten, pairs of one person and of two each in turn.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOLDS = 10

Flags = NDArray[np.bool_]
Places = NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """n pairs: indices of the two pictures, whether they show one person, and the number of the fold."""

    left: Places
    right: Places
    same: Flags
    folds: Places

    def __len__(self) -> int:
        return len(self.same)


def deal(same: Flags) -> Places:
    """Give each pair a fold, so that every fold has its share of either kind."""
    folds = np.zeros(len(same), np.intp)
    for kind in (True, False):
        places = np.flatnonzero(same == kind)
        folds[places] = np.arange(len(places)) % FOLDS
    return folds
