"""A backbone with a new head, as one network that can be trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from topwork.core.arrays import Floats
from topwork.core.candidates import LAST
from topwork.core.classifier import Classifier
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.heads import LinearHead
from topwork.models.backbones import Backbone, BackboneSpec, empty_backbone, feature_function
from topwork.models.layer_groups import LayerGroup, layer_groups
from topwork.models.normalisation import normalised, pixel_statistics
from topwork.models.own_extractor import check_same_source

_TOLERANCE = 1e-3  # relative difference allowed for rounding in other kernels


class Graft(nn.Module):
    """Network from pixels ``[b, h, w, 3]`` (uint8) to class scores ``[b, c]``: backbone, dense layers, head.

    Inside `starting_at_group`, the input is the output of the frozen layers (floating point) instead of pixels.
    """

    def __init__(
        self, backbone: Backbone, layers: Sequence[str], pool: str, hidden: Sequence[int], dropout: float, classes: int
    ) -> None:
        super().__init__()
        self.trunk = backbone.trunk
        self.layers = tuple(layers)
        self.groups: tuple[LayerGroup, ...] = layer_groups(backbone.trunk)
        self._features = feature_function(replace(backbone, neck=None), layers, pool)
        how = backbone.spec.preprocessing
        self._mean: Tensor
        self._std: Tensor
        for name, value in zip(("_mean", "_std"), pixel_statistics(how), strict=True):
            self.register_buffer(name, value, persistent=False)
        with torch.inference_mode():
            width = self.trunk_features(torch.zeros(2, how.crop, how.crop, 3, dtype=torch.uint8)).shape[1]
        self.neck = dense_layers(width, hidden, dropout)
        self.head = nn.Linear(hidden[-1] if hidden else width, classes)

    def forward(self, inputs: Tensor) -> Tensor:
        """Class scores ``[b, c]``."""
        scores: Tensor = self.head(self.neck(self.trunk_features(inputs)))
        return scores

    def trunk_features(self, inputs: Tensor) -> Tensor:
        """Bottleneck features ``[b, d]`` of the inputs."""
        if inputs.dtype == torch.uint8:  # pixels; other inputs are the output of frozen layers
            inputs = normalised(inputs, self._mean, self._std)
        return self._features(inputs)

    def plant(self, head: LinearHead) -> None:
        """Copy the weights of a linear head that was fitted on these features.

        Raises:
            InputError: there are dense layers before the head, or the head has another shape.

        """
        if self.head.weight.shape != head.weight.shape or len(self.neck):
            raise InputError(
                f"A probe of shape {list(head.weight.shape)} cannot be planted on {list(self.head.weight.shape)}: "
                "hidden layers want head=random."
            )
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(np.array(head.weight)))
            self.head.bias.copy_(torch.from_numpy(np.array(head.bias)))

    def tensors(self) -> dict[str, Floats]:
        """The tensors of trunk and neck, without the head, as in `Classifier.network`."""
        state = {**_prefixed("trunk", self.trunk), **_prefixed("neck", self.neck)}
        return {name: value.detach().cpu().numpy().copy() for name, value in state.items()}

    def current_head(self) -> LinearHead:
        """A copy of the head with its current weights."""
        weight, bias = (value.detach().cpu().numpy().copy() for value in (self.head.weight, self.head.bias))
        return LinearHead(weight, bias)


def dense_layers(width: int, hidden: Sequence[int], dropout: float) -> nn.Sequential:
    """Dense layers of the ``hidden`` sizes, each with ReLU and dropout; only dropout if ``hidden`` is empty."""
    layers: list[nn.Module] = []
    for before, after in zip([width, *hidden], hidden, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers or ([nn.Dropout(dropout)] if dropout else []))


def boundary_layer(groups: Sequence[LayerGroup], first: int) -> str:
    """Name of the module before group number ``first``; its output is the input of this group."""
    return groups[first - 1].parts[-1]


def can_start_from(backbone: Backbone, layers: Sequence[str], first: int) -> bool:
    """Whether the groups from number ``first`` on can be computed from the output of the group before alone.

    This is true for networks that are a chain of their groups. It is tested with random pixels. The network is not
    changed.
    """
    groups = layer_groups(backbone.trunk)
    if first == 0 or not all(layer == LAST or any(group.holds(layer) for group in groups[first:]) for layer in layers):
        return False
    side = backbone.spec.preprocessing.crop
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    taken: list[Tensor] = []
    module = backbone.trunk.get_submodule(boundary_layer(groups, first))
    handle = module.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    try:
        with torch.inference_mode():
            whole = backbone.trunk(images)
            with starting_at_group(backbone.trunk, groups, first):
                part = backbone.trunk(taken[0].clone())
        return bool(part.shape == whole.shape and (part - whole).norm() <= _TOLERANCE * whole.norm())
    except (RuntimeError, TypeError, AttributeError, ValueError, IndexError):
        return False  # there is an operation between the groups that is not a module
    finally:
        handle.remove()


@contextmanager
def starting_at_group(trunk: nn.Module, groups: Sequence[LayerGroup], first: int) -> Iterator[None]:
    """A context in which the trunk starts at group ``first``; the modules before it are replaced by identities."""
    frozen = {part: trunk.get_submodule(part) for group in groups[:first] for part in group.parts}
    try:
        for name in frozen:
            trunk.set_submodule(name, nn.Identity())
        yield
    finally:
        for name, module in frozen.items():
            trunk.set_submodule(name, module)


def network_backbone(classifier: Classifier) -> Backbone:
    """The backbone with the tensors of the classifier, including its dense layers."""
    key = classifier.key
    if not key.has_layers:
        check_same_source(key.backbone, key.weights)
    backbone = empty_backbone(key.backbone, key.preprocessing)
    trunk, neck = (_without_prefix(part, classifier.network) for part in ("trunk", "neck"))
    backbone.trunk.load_state_dict(trunk)
    if not classifier.hidden:
        return backbone
    layers = dense_layers(neck["0.weight"].shape[1], classifier.hidden, 0.0)
    layers.load_state_dict(neck)
    return replace(backbone, neck=layers.eval())


def with_network(classifier: Classifier, backbone: Backbone) -> Classifier:
    """The classifier with the tensors of this backbone; its head was fitted on the backbone's features."""
    neck = backbone.neck or nn.Sequential()
    tensors = {**_prefixed("trunk", backbone.trunk), **_prefixed("neck", neck)}
    return replace(
        classifier,
        network={name: value.detach().cpu().numpy().copy() for name, value in tensors.items()},
        hidden=tuple(layer.out_features for layer in neck.modules() if isinstance(layer, nn.Linear)),
    )


def grafted_key(spec: BackboneSpec, layers: Sequence[str], pool: str, decoder: str, digest: str) -> FeatureKey:
    """The feature key of a trained network, which computes in float32."""
    return FeatureKey(
        backbone=spec.architecture,
        weights=digest,
        preprocessing=spec.preprocessing.fields,
        layers=tuple(layers),
        pool=pool,
        view="original",
        engine="eager",
        number_format="float32",
        decoder=decoder,
    )


def _prefixed(prefix: str, module: nn.Module) -> Mapping[str, Tensor]:
    return {f"{prefix}.{name}": value for name, value in module.state_dict().items()}


def _without_prefix(prefix: str, tensors: Mapping[str, Floats]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): torch.from_numpy(np.array(value))
        for name, value in tensors.items()
        if name.startswith(f"{prefix}.")
    }
