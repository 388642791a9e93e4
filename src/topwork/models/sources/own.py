"""Feature extractors of the user as backbones without weights."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from topwork.images.transforms import Preprocessing
from topwork.models.own_extractor import Extractor, check_repeatable, extracted, image_side, load_extractor
from topwork.models.sources.source import no_weights


class OwnSource:
    """Callables named `python:MODULE:NAME`; they get the whole centre square of an image, unnormalised."""

    def preprocessing(self, name: str) -> Preprocessing:
        side = image_side(load_extractor(name))
        return Preprocessing(side, side, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

    def default_file(self, name: str) -> Path:
        raise no_weights(name)

    def build(self, name: str, side: int) -> nn.Module:
        return ExtractorTrunk(name, load_extractor(name))

    def load_default(self, network: nn.Module, name: str) -> None:
        """Nothing to load: an extractor brings what it needs."""

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return network, nn.Identity()

    def check(self, name: str, side: int) -> None:
        """Check the extractor on a few images of ``side`` pixels.

        Raises:
            InputError: it fails, or its vectors are not repeatable.

        """
        check_repeatable(name, load_extractor(name), side)


class ExtractorTrunk(nn.Module):
    """A callable as the trunk of a backbone: images ``[b, 3, h, w]`` (0 to 1) to vectors ``[b, d]``."""

    def __init__(self, name: str, extractor: Extractor) -> None:
        super().__init__()
        self._name, self._extractor = name, extractor

    def forward(self, images: Tensor) -> Tensor:
        """The vectors of the images, on their device."""
        pixels = (images.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
        return torch.from_numpy(extracted(self._name, self._extractor, pixels)).to(images.device)
