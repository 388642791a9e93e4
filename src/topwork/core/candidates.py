"""What tells the features apart among which a run can choose, in the parameters and in words."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topwork.core.features import OWN_EXTRACTOR
from topwork.core.parameters import FeatureParameters

INSTALLED = "installed"
"""Value of `backbone` for all backbones whose weights need no download."""
AUTO = "auto"
"""Value of `features.layers`, `image_size` and `fit` that leaves the choice to the screen."""
LAST = "last"
"""Name of the bottleneck, which is the input of the fully connected layers."""
_FEW_LAYERS = 3
Features = tuple[str, int | None, str]  # backbone, image size in pixels (None: its own), layers


def has_choice(parameters: FeatureParameters) -> bool:
    """Whether the parameters name several features, one of which the screen has to choose."""
    p = parameters
    several = len(backbone_names(p.backbone)) > 1 or "|" in p.layers
    return several or INSTALLED in p.backbone or AUTO in {p.layers, p.image_size, p.fit}


def backbone_names(value: str) -> list[str]:
    """The names in a value of the parameter `backbone`, which are joined by `+`; a path may hold a `+` itself."""
    path = value.removeprefix(OWN_EXTRACTOR).rpartition(".py:")[0]
    if value and (Path(value).exists() or (path and Path(f"{path}.py").is_file())):
        return [value]
    return [name for name in value.split("+") if name]


def told_apart(features: Sequence[Features], others: Sequence[Features] = ()) -> list[str]:
    """What tells each of the features from the rest and from ``others``, in words; empty if all are the same.

    Backbones differ in the sizes that their weights were made for, so that a size is told only where a backbone comes
    in several.
    """
    backbones = {backbone for backbone, _, _ in features}
    sizes = {(backbone, size) for backbone, size, _ in (*features, *others)}
    several_sizes = len(sizes) > len({backbone for backbone, _ in sizes})
    are_short = len({short_name(backbone) for backbone in backbones}) == len(backbones)
    several_layers = len({layers for _, _, layers in features}) > 1
    parts = (
        (
            (short_name(backbone) if are_short else backbone) if len(backbones) > 1 else "",
            f"{size} px" if several_sizes and size else "",
            _shortened(layers) if several_layers else "",
        )
        for backbone, size, layers in features
    )
    return [" ".join(filter(None, each)) for each in parts]


def _shortened(layers: str) -> str:
    """Names of layers, joined by `+`; of many layers only the number."""
    count = len(layers.split("+"))
    return layers if count <= _FEW_LAYERS else f"{count} layers"


def short_name(name: str) -> str:
    """The name without the folders of a path."""
    return name.rsplit("/", maxsplit=1)[-1]
