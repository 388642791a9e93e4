from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from topwork.models.shallow_correlation import CorrelationNet, SymmetryMaps


def test_short_numbers_leave_the_maps_as_they_are_and_no_gradient_passes() -> None:
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    maps = SymmetryMaps()
    exact = maps(images)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(maps(images), exact)
    assert not exact.requires_grad


def test_the_network_in_onnx_answers_the_same_for_any_number_of_images(tmp_path: Path) -> None:
    import onnxruntime

    network, path = CorrelationNet(5).eval(), tmp_path / "network.onnx"
    batch = ({0: torch.export.Dim("batch", min=1)},)
    options = {"dynamo": True, "verbose": False, "optimize": False}  # optimising takes as long as all the rest
    torch.onnx.export(network, (torch.rand(2, 3, 64, 64),), path, dynamic_shapes=batch, **options)
    session = onnxruntime.InferenceSession(path)
    for count in (1, 3):
        images = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count))
        (scores,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.inference_mode():
            np.testing.assert_allclose(scores, network(images).numpy(), atol=1e-4)
