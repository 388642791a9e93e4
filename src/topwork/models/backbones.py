"""Pretrained networks from several sources (`models/sources/`), all used through the same functions.

`efficientnet_lite0` (also lite1, lite2) comes with a package and needs no download; a bare name is torchvision's;
`timm:NAME` is timm's; `shallow` is the project's own; a folder with `spec.json` is a Topwork classifier;
`python:MODULE:NAME` is an extractor of the user (`models/own_extractor.py`).
The preprocessing belongs to the weights.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topwork.core.candidates import LAST
from topwork.core.digests import file_digest
from topwork.core.errors import InputError
from topwork.core.fits import CROP, MEAN
from topwork.core.greys import Scale
from topwork.images.transforms import Preprocessing
from topwork.models.layer_groups import layer_groups
from topwork.models.own_extractor import extractor_digest
from topwork.models.sources import OwnSource, RegraftSource, Source, find_source, head_name
from topwork.models.weights import load_trunk, read_state

_STRIDE = 32  # pixels of the input for one pixel of the last feature map, in most networks
_LONGEST_REASON = 150  # characters
ALL, MIDDLE = "all", "middle"
"""Stand for every stage of a backbone and its bottleneck, and for the stage in the middle and the bottleneck."""


@dataclass(frozen=True)
class BackboneSpec:
    """A network with weights and preprocessing; ``weights_digest`` is a digest of the weights."""

    name: str
    weights: str
    weights_digest: str
    preprocessing: Preprocessing
    seed: int

    @property
    def architecture(self) -> str:
        """Name of the network to build; for a classifier's folder, the name of the classifier's backbone."""
        source = find_source(self.name)
        return source.architecture if isinstance(source, RegraftSource) else self.name


@dataclass(frozen=True)
class Backbone:
    """A network without its head: ``trunk(x)`` maps ``[b, 3, h, w]`` to bottleneck features ``[b, d]``.

    ``pretrained_head`` is the part that was cut off: `trunk` followed by `pretrained_head` gives the logits of the
    pretraining classes. ``stages`` are the names of the trunk's modules from input to output. ``channels_last_maps``
    says that feature maps have the shape ``[b, h, w, c]``. ``neck`` are dense layers between the bottleneck features
    and a head.
    """

    spec: BackboneSpec
    trunk: nn.Module
    pretrained_head: nn.Module
    stages: tuple[str, ...]
    channels_last_maps: bool
    neck: nn.Module | None = None


def describe_backbone(
    name: str,
    weights: str = "default",
    image_size: int | None = None,
    seed: int = 0,
    white: Scale = None,
    fit: str = CROP,
    fit_colour: str = MEAN,
) -> BackboneSpec:
    """The spec of a network; its weights are downloaded if necessary, but the network is not built.

    An image that is not square is fitted into the square as ``fit`` says, also by a classifier used as backbone.

    Raises:
        InputError: the backbone is unknown, or its weights are not available; the message says which file is needed.

    """
    source = find_source(name)
    preprocessing = source.preprocessing(name).fitted(fit, fit_colour)
    if white is not None:  # if None, a classifier used as backbone keeps its own value
        preprocessing = replace(preprocessing, white=white)
    if image_size is not None:
        scale = preprocessing.resize / preprocessing.crop
        preprocessing = replace(preprocessing, crop=image_size, resize=math.floor(image_size * scale))
    return BackboneSpec(name, weights, _weights_digest(source, name, weights, seed), preprocessing, seed)


def load_backbone(spec: BackboneSpec) -> Backbone:
    """The network in evaluation mode, without its head.

    Raises:
        InputError: the weights do not fit the network.

    """
    source = find_source(spec.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)  # matters only for `weights=none`
        network = source.build(spec.name, spec.preprocessing.crop)
    if spec.weights == "default":
        source.load_default(network, spec.name)
    elif spec.weights != "none":
        load_trunk(network, read_state(Path(spec.weights)), (f"{head_name(network)}.",), f"weights={spec.weights}")
    return _headless(source, network, spec)


def try_out(spec: BackboneSpec, layers: str, pool: str) -> None:
    """Check with one blank image that the network works with this image size, these layers and this pooling.

    Raises:
        InputError: it does not; the message names sizes that work, or the layers that do not.

    """
    source, blank = find_source(spec.name), replace(spec, weights="none")
    if isinstance(source, OwnSource):
        source.check(spec.name, spec.preprocessing.crop)
    if reason := _why_not(blank, LAST, pool):
        side = spec.preprocessing.crop
        tried = sorted(
            {find_source(spec.name).preprocessing(spec.name).crop, 64, 128, 224, *_neighbours(side)} - {side}
        )
        sizes = [size for size in tried if not _why_not(_resized(blank, size), LAST, pool)]
        known = f"Of the sizes tried, {', '.join(map(str, sizes))} work." if sizes else "No size that was tried works."
        raise InputError(f"backbone={spec.name}: cannot take images of image_size={side} ({reason}). {known}")
    if layers != LAST and (reason := _why_not(blank, layers, pool)):
        raise InputError(
            f"features.layers={layers}: layers of {spec.name} give no feature maps that can be pooled ({reason}). "
            "Take features.layers=last, or name other layers."
        )


def _why_not(spec: BackboneSpec, layers: str, pool: str) -> str:
    """The reason why the network gives no features of a blank image, or an empty text."""
    try:
        backbone = load_backbone(spec)
        side = spec.preprocessing.crop
        with torch.inference_mode():
            features = feature_function(backbone, resolve_layers(backbone, layers), pool)(torch.zeros(1, 3, side, side))
    except InputError:
        raise
    except Exception as error:  # each network raises different errors
        return (" ".join(str(error).split()) or type(error).__name__)[:_LONGEST_REASON]
    return "" if features.ndim == 2 else f"features of shape {list(features.shape)}"


def _resized(spec: BackboneSpec, side: int) -> BackboneSpec:
    return replace(
        spec, preprocessing=replace(spec.preprocessing, crop=side, resize=max(side, spec.preprocessing.resize))
    )


def _neighbours(side: int) -> set[int]:
    """The multiples of 32 below and above the side; most networks accept them."""
    below = side // _STRIDE * _STRIDE
    return {size for size in (below, below + _STRIDE) if size >= _STRIDE}


def empty_backbone(architecture: str, preprocessing: Mapping[str, Any]) -> Backbone:
    """A backbone with random weights, into which the weights of a classifier are then loaded."""
    spec = BackboneSpec(architecture, "none", "", Preprocessing(**preprocessing), 0)
    return load_backbone(spec)


def _headless(source: Source, network: nn.Module, spec: BackboneSpec) -> Backbone:
    trunk, head = source.truncate(network)
    stages = tuple(group.name for group in layer_groups(trunk))
    return Backbone(spec, trunk.eval(), head.eval(), stages, "swin" in spec.architecture)


def resolve_layers(backbone: Backbone, layers: str) -> tuple[str, ...]:
    """Names of the layers for a parameter such as ``last``, ``blocks.2+last``, ``middle`` or ``all``.

    Raises:
        InputError: the backbone has no such layer; the message names the nearest ones.

    """
    if layers == ALL:
        return (*backbone.stages, LAST)
    if layers == MIDDLE:
        return (backbone.stages[len(backbone.stages) // 2], LAST)
    known = {LAST, *(name for name, _ in backbone.trunk.named_modules() if name)}
    names = tuple(name.strip() for name in layers.split("+"))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or [LAST, *backbone.stages]
            raise InputError(f"layers={layers}: {backbone.spec.name} has no layer {name!r}; perhaps {', '.join(near)}?")
    return names


def feature_function(backbone: Backbone, layers: Sequence[str], pool: str) -> Callable[[Tensor], Tensor]:
    """A function from normalised images ``[b, 3, h, w]`` to features ``[b, d]``: the layers pooled and concatenated.

    If ``pool`` is none, feature maps are flattened without pooling. The features then pass the neck, if there is one.
    """
    pooled = _pooled_layers(backbone, layers, pool)
    neck = backbone.neck
    return pooled if neck is None else lambda images: neck(pooled(images))


def _pooled_layers(backbone: Backbone, layers: Sequence[str], pool: str) -> Callable[[Tensor], Tensor]:
    if tuple(layers) == (LAST,):
        return backbone.trunk

    taken: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _inputs, output: taken.__setitem__(name, output)

    for name in layers:
        if name != LAST:
            backbone.trunk.get_submodule(name).register_forward_hook(keep(name))

    def features(images: Tensor) -> Tensor:
        taken[LAST] = backbone.trunk(images)
        return torch.cat([_pooled(taken[name], pool, backbone.channels_last_maps) for name in layers], dim=1)

    return features


def _pooled(output: Tensor, pool: str, channels_last: bool) -> Tensor:
    """Features ``[b, c]`` of a map ``[b, c, h, w]`` or ``[b, h, w, c]``, tokens ``[b, n, c]``, or flat output."""
    if output.ndim == 2:
        return output
    if pool == "none":
        return output.flatten(1)
    over = (1,) if output.ndim == 3 else (1, 2) if channels_last else (2, 3)
    return output.mean(over) if pool == "average" else output.amax(over)


def _weights_digest(source: Source, name: str, weights: str, seed: int) -> str:
    if isinstance(source, OwnSource):
        if weights != "default":
            raise InputError(f"backbone={name}: an extractor brings its own weights; leave out weights={weights}.")
        return extractor_digest(name)
    if weights == "none":
        return f"random-{seed}-torch-{torch.__version__}"
    path = source.default_file(name) if weights == "default" else Path(weights)
    if not path.is_file():
        raise InputError(f"weights={weights}: there is no such file (`default` and `none` are the other choices).")
    return file_digest(path)
