"""OpenVINO on the CPU: the network is converted once, and runs with one stream per core."""

from __future__ import annotations

import warnings
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.models.engines.engine import Engine, Recipe
from topwork.workers import cores

_BATCH = 8
"""Images; activations stay in a core's cache. Four to eight were fastest for EfficientNet-Lite0 and ResNet-50."""

_PRECISION = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}


_MAKING = Lock()


def the_core() -> ov.Core:
    """The one OpenVINO core of this process, which is never freed.

    When a core is freed, the thread that made it keeps a signal stack that no longer exists, if another core was made
    in between or another thread frees it. The next Ctrl-C or timer then ends the process with a segmentation fault,
    without a traceback (OpenVINO 2026.4, `docs/decisions/0016-signal-stack.md`).
    """
    with _MAKING:
        return _core()


@cache
def _core() -> ov.Core:
    return ov.Core()


def build(recipe: Recipe) -> Engine:
    """An engine with the network converted now, or found in the recipe's store of converted networks."""
    batch_size = recipe.batch_size or _BATCH
    core = the_core()
    network = core.compile_model(
        _with_preprocessing(_network(recipe, core), recipe, batch_size),
        "CPU",
        {
            "INFERENCE_PRECISION_HINT": _PRECISION[recipe.number_format],
            "NUM_STREAMS": cores(),  # one thread per stream: no stream waits for a core that is decoding images
            "INFERENCE_NUM_THREADS": cores(),
        },
    )
    idle: SimpleQueue[Any] = SimpleQueue()
    for _ in range(cores()):
        idle.put(network.create_infer_request())

    def run(pixels: NDArray[np.uint8]) -> Floats:
        request = idle.get()
        try:
            features: Floats = request.infer([pixels], share_inputs=True)[0]
            return features
        finally:
            idle.put(request)

    return Engine(run, batch_size, streams=cores())


def _network(recipe: Recipe, core: Any) -> Any:
    """OpenVINO's graph from images ``[b, 3, h, w]`` (float32) to features."""
    if recipe.networks is not None and (kept := recipe.networks.network(recipe.network_name)):
        graph, weights = kept
        return core.read_model(graph, ov.Tensor(np.frombuffer(weights, np.uint8)))
    network = _converted(recipe)
    if recipe.networks is not None:
        recipe.networks.keep_network(recipe.network_name, *_serialised(network))
    return network


def _converted(recipe: Recipe) -> Any:
    import torch
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    from topwork.models.backbones import feature_function

    backbone = recipe.backbone()
    features = feature_function(backbone, recipe.layers, recipe.pool)

    class Traced(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = backbone.trunk

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return features(images)

    # The frontend is called directly, since `openvino.convert_model` reports its use to the vendor.
    frontend = FrontEndManager().load_by_framework("pytorch")
    side = recipe.preprocessing.crop
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns about constant Python values
        decoder = TorchScriptPythonDecoder(Traced().eval(), example_input=torch.zeros(2, 3, side, side))
        return frontend.convert(frontend.load(decoder))


def _serialised(network: Any) -> tuple[bytes, bytes]:
    """The graph (XML) and the weights, as OpenVINO writes them."""
    with TemporaryDirectory() as folder:
        graph, weights = Path(folder) / "network.xml", Path(folder) / "network.bin"
        ov.serialize(network, graph, weights)
        return graph.read_bytes(), weights.read_bytes()


def _with_preprocessing(network: Any, recipe: Recipe, batch_size: int) -> Any:
    """The graph with pixels ``[batch_size, h, w, 3]`` (uint8) as input; mean and deviation join the first layer."""
    how = recipe.preprocessing
    network.reshape([batch_size, 3, how.crop, how.crop])
    steps = ov.preprocess.PrePostProcessor(network)
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC"))
    scaled = steps.input().preprocess().convert_element_type(ov.Type.f32)
    scaled.mean([255 * value for value in how.mean]).scale([255 * value for value in how.std])
    steps.input().model().set_layout(ov.Layout("NCHW"))
    steps.output().tensor().set_element_type(ov.Type.f32)
    return steps.build()
