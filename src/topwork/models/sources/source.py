"""The interface of all sources of networks, and functions that several sources use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from topwork.core.errors import InputError
from topwork.images.transforms import Preprocessing

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Source(Protocol):
    """The interface of a source of networks."""

    def preprocessing(self, name: str) -> Preprocessing:
        """The preprocessing for which the default weights of this network were trained."""
        ...

    def default_file(self, name: str) -> Path:
        """The file of the default weights, downloaded if necessary.

        Raises:
            InputError: there are no default weights, or they cannot be downloaded.

        """
        ...

    def build(self, name: str, side: int) -> nn.Module:
        """The network with random weights and its own head, for images of ``side`` pixels."""
        ...

    def load_default(self, network: nn.Module, name: str) -> None:
        """Load the default weights into the network."""
        ...

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        """The network without its head, and the head."""
        ...


def no_weights(name: str) -> InputError:
    """The error for a network without pretrained weights."""
    return InputError(f"backbone={name} has no pretrained weights: use weights=none or weights=FILE.")


def downloaded(name: str, url: str) -> Path:
    """The file of these weights in torch's cache, downloaded if necessary.

    Raises:
        InputError: the download failed; the message says which file is needed and where to put it.

    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not path.is_file():
        checked = torch.hub.HASH_REGEX.search(path.name)  # by convention, the start of the file's SHA-256
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), checked.group(1) if checked else None)
        except Exception as error:
            raise cannot_download(name, url, path) from error
    return path


def cannot_download(name: str, what: str, where: Path | None) -> InputError:
    """The error that says which file is needed, and where to put it."""
    place = f" put it at {where}, or" if where else ""
    return InputError(
        f"backbone={name}: its weights cannot be downloaded here. Bring {what};{place} pass it with weights=FILE. "
        "Or use backbone=efficientnet_lite0, whose weights are installed."
    )


def head_name(network: nn.Module) -> str:
    """Name of the network's head, which is by convention its last child."""
    return [name for name, _ in network.named_children()][-1]


def truncate_timm(network: Any) -> tuple[nn.Module, nn.Module]:
    """A timm network without its head, and the head."""
    head = network.get_classifier()
    network.reset_classifier(0)
    return network, head if isinstance(head, nn.Module) else nn.Identity()


def truncate_torchvision(network: nn.Module) -> tuple[nn.Module, nn.Module]:
    """A torchvision network, cut before the first fully connected layer of its head, and the part cut off.

    VGG and AlexNet flatten a map of 6 x 6 or 7 x 7 as input of their large fully connected layers; here the map is
    averaged instead. SqueezeNet classifies with a convolution, which is cut off too.
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
