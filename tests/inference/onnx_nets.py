"""A small network as an exported ONNX file, made without torch."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from topwork.images.transforms import Preprocessing

_SIDE = 16


def small_onnx(convolutions: int, seed: int = 0, classes: int = 3) -> bytes:
    """Pixels to probabilities by 3 x 3 convolutions of 8 channels with ReLU, pooling and a linear head."""
    random = np.random.default_rng(seed)
    weights = {"head": random.normal(0, 3, (8, classes)), "size": np.float32(255)}
    nodes = [
        helper.make_node("Transpose", ["pixels"], ["planes"], "transpose", perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["floats"], "cast", to=TensorProto.FLOAT),
        helper.make_node("Div", ["floats", "size"], ["map_0"], "scale"),
    ]
    for place in range(convolutions):
        weights[f"weight_{place}"] = random.normal(0, 0.3, (8, 8 if place else 3, 3, 3))
        taken = [f"map_{place}", f"weight_{place}"]
        nodes.append(helper.make_node("Conv", taken, [f"raw_{place}"], f"conv_{place}", pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"raw_{place}"], [f"map_{place + 1}"], f"relu_{place}"))
    nodes += [
        helper.make_node("GlobalAveragePool", [f"map_{convolutions}"], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["features"], "flatten"),
        helper.make_node("MatMul", ["features", "head"], ["scores"], "head_product"),
        helper.make_node("Softmax", ["scores"], ["probabilities"], "softmax", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", _SIDE, _SIDE, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", classes])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    how = Preprocessing(_SIDE, _SIDE, "bilinear", (0.0,) * 3, (1.0,) * 3)
    told = {"class_names": ["cat", "dog", "owl"], "preprocessing": asdict(how), "how": "Decode upright."}
    helper.set_model_props(model, {"topwork": json.dumps(told)})
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())
