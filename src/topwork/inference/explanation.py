"""Heat maps of the image regions that support a class: Grad-CAM (Selvaraju et al. 2017), computed by captum."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from topwork.core.arrays import Floats
from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.images.transforms import Preprocessing
from topwork.models.backbones import Backbone, feature_function
from topwork.models.graft import network_backbone
from topwork.models.normalisation import normalised, pixel_statistics


def class_heat(classifier: Classifier) -> Callable[[NDArray[np.uint8], int], Floats]:
    """A function from the crops ``[k, side, side, 3]`` of an image and a class number to the heat maps of that class.

    The heat maps ``[k, side, side]`` have values between 0 and 1. They are computed from the last feature maps, so they
    are coarse. They are zero everywhere if nothing in the image supports the class.

    Raises:
        InputError: the network has no feature maps (a transformer).

    """
    key, backbone = classifier.key, network_backbone(classifier)
    how = Preprocessing(**key.preprocessing)
    features = feature_function(backbone, key.layers, key.pool if key.pool != "own" else "average")
    head = classifier.head
    tensors = {name: torch.tensor(np.asarray(value, np.float32)) for name, value in head.tensors().items()}
    mean, std = pixel_statistics(how)

    def scores(images: Tensor) -> Tensor:
        return torch.as_tensor(head.apply(features(images), tensors))

    gradients = LayerGradCam(scores, backbone.trunk.get_submodule(_last_maps(backbone, how.crop)))

    def heat(crops: NDArray[np.uint8], number: int) -> Floats:
        images = normalised(torch.from_numpy(crops.copy()), mean, std)
        coarse = gradients.attribute(images, target=number, relu_attributions=True)
        fine = LayerAttribution.interpolate(coarse, (how.crop, how.crop), "bilinear")[:, 0].detach().numpy()
        return np.asarray(fine / max(float(fine.max()), 1e-12))

    return heat


def _last_maps(backbone: Backbone, side: int) -> str:
    """Name of the last stage with a spatial map (width above 1) as its output.

    Raises:
        InputError: there is no such stage after the first one, or the maps have their channels last.

    """
    found: list[str] = []

    def note(name: str) -> Callable[[nn.Module, Sequence[Tensor], Tensor], None]:
        def look(_module: nn.Module, _inputs: Sequence[Tensor], output: Tensor) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[-1] > 1:
                found.append(name)

        return look

    modules = [(name, backbone.trunk.get_submodule(name)) for name in backbone.stages]
    handles = [module.register_forward_hook(note(name)) for name, module in modules]
    with torch.inference_mode():
        backbone.trunk(torch.zeros(1, 3, side, side))
    for handle in handles:
        handle.remove()
    if not found or found[-1] == backbone.stages[0] or backbone.channels_last_maps:
        raise InputError(f"{backbone.spec.name} has no feature maps to explain by.")
    return found[-1]
