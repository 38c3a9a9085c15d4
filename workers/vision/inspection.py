"""`python -m workers.vision.inspection FILE`: opens an embedder that is to be registered and says its dimension, as JSON.

Run by `rekollect models add` in a process of its own. What is refused here would otherwise fail in every worker.
"""

import json
import sys
from pathlib import Path

import numpy as np

from workers.vision.alignment import CROP_SIZE
from workers.vision.graphs import prepare_embedder
from workers.vision.sessions import CPU, ModelError, open_session

#: A picture alone and in company must give the same embedding, as far as rounding allows.
_TOLERANCE = 1e-3


def inspect(model: bytes, *, largest_dimension: int) -> int:
    """Give the dimension of a model's embeddings; raise ModelError where it is no embedder of 112 x 112 crops."""
    session = open_session(prepare_embedder(model), CPU)
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or list(inputs[0].shape[1:]) != [3, CROP_SIZE, CROP_SIZE]:
        shapes = ", ".join(str(one.shape) for one in inputs)
        raise ModelError(f"it must take one input of n x 3 x {CROP_SIZE} x {CROP_SIZE}, but takes {shapes}")
    if inputs[0].type != "tensor(float)":
        raise ModelError(f"it must take float32, but takes {inputs[0].type}")
    crops = np.random.default_rng(0).uniform(-1, 1, (2, 3, CROP_SIZE, CROP_SIZE)).astype(np.float32)
    name = inputs[0].name
    both = session.run(None, {name: crops})[0]
    alone = session.run(None, {name: crops[:1]})[0]
    if both.ndim != 2 or both.shape[0] != 2 or both.dtype != np.float32:
        raise ModelError(f"its first output must be n x dimension of float32, but is {both.shape} of {both.dtype}")
    if not 1 < both.shape[1] <= largest_dimension:
        raise ModelError(f"embeddings must have 2 to {largest_dimension} numbers, not {both.shape[1]}")
    if outputs[0].shape[-1] != both.shape[1]:
        raise ModelError("the file does not say the dimension of its output")
    if not np.isfinite(both).all() or np.abs(both[0] - alone[0]).max() > _TOLERANCE * max(1.0, np.abs(alone).max()):
        raise ModelError("it gives a picture another embedding when it comes together with others")
    return int(both.shape[1])


def main() -> int:
    """Inspect a file; the last line of what is said on failure tells the reason."""
    path, largest = Path(sys.argv[1]), int(sys.argv[2])
    try:
        dimension = inspect(path.read_bytes(), largest_dimension=largest)
    except Exception as error:  # noqa: BLE001 - onnx and onnxruntime raise what they like, and this is the process edge
        sys.stderr.write("this is no embedder that can be used: " + " ".join(str(error).split()) + "\n")
        return 1
    sys.stdout.write(json.dumps({"dimension": dimension}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
