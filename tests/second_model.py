"""A second embedder for tests: SFace with a fixed projection behind it, so that answers stay meaningful in 96 numbers.

It is made from the pinned file whenever it is needed and is never kept in the repository.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from app import assets
from app.config import Settings
from app.db import face_models
from app.db.session import Database
from app.domain.face_models import SFACE, VERSION_1, FaceModelVersion, Preprocessing, registered

DIMENSION = 96


def write_second_embedder(settings: Settings, path: Path, *, dimension: int = DIMENSION, seed: int = 2) -> Path:
    """Write the file; the projection keeps angles about as they were."""
    model = onnx.load(assets.require_model(settings, SFACE))
    graph = model.graph
    square, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((128, 128)))
    graph.initializer.append(numpy_helper.from_array(square[:, :dimension].astype(np.float32), "projection"))
    output = graph.output[0]
    graph.node.append(helper.make_node("MatMul", [output.name, "projection"], ["projected"]))
    graph.ClearField("output")
    graph.output.append(helper.make_tensor_value_info("projected", onnx.TensorProto.FLOAT, [1, dimension]))
    path.write_bytes(model.SerializeToString())
    return path


def register_second_model(
    database: Database, settings: Settings, folder: Path, version: str = "2.0"
) -> FaceModelVersion:
    """Register the second embedder, as `rekollect models add` does."""
    path = write_second_embedder(settings, folder / "second.onnx")
    file = assets.keep_model(settings, path, licence="Apache-2.0")
    made = registered(version, file, DIMENSION, VERSION_1.curve, Preprocessing())
    with database.transaction() as connection:
        assert face_models.insert(connection, made)
    return made
