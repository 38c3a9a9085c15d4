"""The kinds of arrays that vision passes around."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: height x width x 3, BGR, as OpenCV keeps pictures; with a leading n for several crops.
Pixels = NDArray[np.uint8]

#: Coordinates, scores, embeddings.
Floats = NDArray[np.floating[Any]]

#: Places in another array.
Indices = NDArray[np.integer[Any]] | list[int] | slice

#: Yes or no for each entry of another array.
Flags = NDArray[np.bool_]
