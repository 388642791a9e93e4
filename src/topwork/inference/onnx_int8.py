"""An exported ONNX file with convolutions in int8: smaller, and faster where the processor multiplies int8 fast."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.errors import InputError
from topwork.inference.onnx_answers import PIXELS, onnx_pixels, preprocessing_of

INT8 = "onnx-int8"
_WAY_OUT = "Export it in float: export.format=onnx."
_HOW_INT8 = (
    "The convolutions after the first are quantised to int8 (QuantizeLinear and DequantizeLinear around each; weights "
    "int8 per channel, activations uint8); the first convolution, the head and softmax are in float32, and input and "
    "output are as without int8. Answers differ a little from those of the float32 network."
)


def int8_model(model: bytes, images: Iterable[bytes]) -> bytes:
    """An exported ONNX file, quantised by ONNX Runtime: static, QDQ, weights int8 per channel, activations uint8.

    The range of an activation is from the smallest to the largest value in an image, both as means over ``images``
    (image bytes): with the extremes over all images MobileNetV2 differs twice as much (docs/export-int8.md). The first
    convolution and what follows the last one (head, temperature, softmax) stay in float: they take little of the time
    and size, and the pixels and probabilities keep their precision. All temporary files lie in the system's folder for
    them, and are removed.

    Raises:
        InputError: the network has no two convolutions, or ONNX Runtime cannot quantise it.

    """
    import onnx

    pictures = _Calibration(model, images)
    with TemporaryDirectory() as folder:
        prepared, quantised = Path(folder, "prepared.onnx"), Path(folder, "quantised.onnx")
        try:
            _prepare(model, prepared)
            in_float = _float_nodes(onnx.load(prepared).graph)
            _quantise(prepared, quantised, pictures, in_float)
        except InputError:
            raise
        except Exception as error:  # the quantiser raises various exceptions on unknown networks
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise InputError(f"The network cannot be quantised ({reason}). {_WAY_OUT}") from error
        return _described(model, onnx.load(quantised))


class _Calibration:
    """What ONNX Runtime calls a data reader: one input for each image, then None."""

    def __init__(self, model: bytes, images: Iterable[bytes]) -> None:
        preprocessing = preprocessing_of(model)
        inputs = [
            {PIXELS: onnx_pixels(each, preprocessing)} for each in images
        ]  # a bad image is not the network's fault
        self._inputs: Iterator[dict[str, NDArray[np.uint8]]] = iter(inputs)

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self._inputs, None)


def _prepare(model: bytes, prepared: Path) -> None:
    """Fold constants and norms, and note the shapes, as the quantiser wants it."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    whole = prepared.with_name("float.onnx")
    whole.write_bytes(model)
    quant_pre_process(str(whole), str(prepared), skip_symbolic_shape=True)


def _float_nodes(graph: Any) -> list[str]:
    """Names of the nodes that stay in float: up to the first convolution and its activation, and after the last."""
    nodes = list(graph.node)
    convolutions = [place for place, node in enumerate(nodes) if node.op_type == "Conv"]
    if len(convolutions) < 2:
        raise InputError(f"Int8 is for networks with two or more convolutions; this one has not. {_WAY_OUT}")
    first, last = convolutions[0] + 1, convolutions[-1]
    if nodes[last + 1].op_type in ("Relu", "Clip"):  # computed with the convolution
        last += 1
    return [node.name for place, node in enumerate(nodes) if place <= first or place > last]


def _quantise(prepared: Path, quantised: Path, pictures: _Calibration, in_float: list[str]) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    quantize_static(
        prepared,
        quantised,
        pictures,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=in_float,
        extra_options={"CalibMovingAverage": True},  # of all images at once: the mean over the images
    )


def _described(model: bytes, quantised: Any) -> bytes:
    """The quantised file with the metadata of ``model`` that say it is int8, checked."""
    import onnx

    told = {each.key: each.value for each in onnx.load_from_string(model).metadata_props}
    about = json.loads(told["topwork"])
    about = {**about, "format": INT8, "how": f"{about['how']} {_HOW_INT8}"}
    onnx.helper.set_model_props(quantised, {"topwork": json.dumps(about, ensure_ascii=False)})
    used = {node.domain for node in quantised.graph.node}
    standard = [each for each in quantised.opset_import if each.domain in used]
    del quantised.opset_import[:]  # ONNX Runtime also lists its own operators, which other runtimes would look for
    quantised.opset_import.extend(standard)
    onnx.checker.check_model(quantised)
    return bytes(quantised.SerializeToString())
