"""Makes the published networks usable: any picture size, any number of faces, twice the speed, the same numbers.

Only graph structure changes, never a weight: the embeddings of a prepared network equal those of the file within
rounding (measured: 1 - cosine at most 2e-7). The files stay the ones whose digests are pinned; what is made of them is
kept apart and says so, as the Apache licence asks of who changes a file.
"""

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

NOTICE = (
    "Changed by Rekollect: the structure of the graph was rewritten for speed and for any input size; no weight was."
)


def prepare_detector(model: bytes) -> bytes:
    """Free batch, height and width of a YuNet file, which was exported for 1 x 3 x 640 x 640 only.

    Its output heads reshape to [1, -1, channels]; a 0 in place of the 1 copies the batch size instead.
    """
    proto = onnx.load_from_string(model)
    graph = proto.graph
    _free(graph.input[0], {0: "batch", 2: "height", 3: "width"})
    for output in graph.output:
        _free(output, {0: "batch", 1: f"anchors_{output.name}"})
    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    for weight in graph.initializer:
        if weight.name in shapes:
            shape = numpy_helper.to_array(weight).copy()
            shape[0] = 0
            weight.CopyFrom(numpy_helper.from_array(shape, weight.name))
    graph.ClearField("value_info")
    proto.doc_string = NOTICE
    return bytes(proto.SerializeToString())


def prepare_embedder(model: bytes) -> bytes:
    """Free the batch of an embedding network, fix its weights, and replace PRelu where onnxruntime is slow at it."""
    proto = onnx.load_from_string(model)
    graph = proto.graph
    weights = {weight.name: weight for weight in graph.initializer}
    # A weight that is also an input could be overridden by a caller, so onnxruntime may not fold it into its
    # neighbours.
    inputs = [value for value in graph.input if value.name not in weights]
    graph.ClearField("input")
    graph.input.extend(inputs)
    for value in [*graph.input, *graph.output]:
        _free(value, {0: "batch"})
    nodes = [new for node in graph.node for new in _without_prelu(node, weights, graph)]
    graph.ClearField("node")
    graph.node.extend(nodes)
    graph.ClearField("value_info")
    proto.doc_string = NOTICE
    return bytes(proto.SerializeToString())


def _free(value: onnx.ValueInfoProto, dimensions: dict[int, str]) -> None:
    """Turn fixed dimensions of an input or output into named ones."""
    for index, name in dimensions.items():
        dimension = value.type.tensor_type.shape.dim[index]
        dimension.ClearField("dim_value")
        dimension.dim_param = name


def _without_prelu(
    node: onnx.NodeProto, weights: dict[str, onnx.TensorProto], graph: onnx.GraphProto
) -> list[onnx.NodeProto]:
    """Rewrite PRelu with a slope per channel as relu(x) - slope * relu(-x), scaling by depthwise 1 x 1 convolutions.

    onnxruntime runs PRelu outside its blocked layout, which took 44 % of the time; convolutions and Relu stay inside
    it. Slopes may be negative, so max(x, slope * x) would be wrong. Any other node is returned as it is.
    """
    slope_weight = weights.get(node.input[1]) if node.op_type == "PRelu" else None
    if slope_weight is None:
        return [node]
    slopes = numpy_helper.to_array(slope_weight).astype(np.float32)
    if slopes.ndim != 3 or slopes.shape[1:] != (1, 1):
        return [node]
    source, result = node.input[0], node.output[0]
    names = {
        part: f"{result}/{part}" for part in ("positive", "negated", "negative", "scaled", "minus_one", "minus_slopes")
    }
    channels = len(slopes)
    for name, factors in ((names["minus_one"], -np.ones_like(slopes)), (names["minus_slopes"], -slopes)):
        graph.initializer.append(numpy_helper.from_array(factors.reshape(channels, 1, 1, 1), name))
    convolution: dict[str, Any] = {"group": channels, "kernel_shape": [1, 1]}
    return [
        helper.make_node("Relu", [source], [names["positive"]]),
        helper.make_node("Conv", [source, names["minus_one"]], [names["negated"]], **convolution),
        helper.make_node("Relu", [names["negated"]], [names["negative"]]),
        helper.make_node("Conv", [names["negative"], names["minus_slopes"]], [names["scaled"]], **convolution),
        helper.make_node("Add", [names["positive"], names["scaled"]], [result]),
    ]
