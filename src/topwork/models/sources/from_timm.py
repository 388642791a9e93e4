"""Networks of timm."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from topwork.core.errors import InputError
from topwork.images.transforms import Preprocessing
from topwork.models.sources.source import cannot_download, downloaded, no_weights, truncate_timm
from topwork.models.weights import load_trunk, read_state

PREFIX = "timm:"


class TimmSource:
    """timm's models, named `timm:NAME`."""

    def preprocessing(self, name: str) -> Preprocessing:
        import timm
        from timm.data.config import resolve_data_config

        known = timm.get_pretrained_cfg(model_name(name))
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

        config = timm.get_pretrained_cfg(model_name(name))
        if config is None or not config.has_weights:
            raise no_weights(name)
        if not config.hf_hub_id:
            return downloaded(name, str(config.url))
        repository, _, revision = config.hf_hub_id.partition("@")
        file = config.hf_hub_filename or "model.safetensors"
        try:
            return Path(hf_hub_download(repository, file, revision=revision or None))
        except Exception as error:
            raise cannot_download(name, f"{file} of the hub's {repository}", None) from error

    def build(self, name: str, side: int) -> nn.Module:
        import timm

        try:
            return timm.create_model(model_name(name), pretrained=False, img_size=side)
        except TypeError:  # convolutional networks take any size and do not have this argument
            return timm.create_model(model_name(name), pretrained=False)

    def load_default(self, network: nn.Module, name: str) -> None:
        load_trunk(network, read_state(self.default_file(name)), (), f"backbone={name}")

    def truncate(self, network: nn.Module) -> tuple[nn.Module, nn.Module]:
        return truncate_timm(network)


def model_name(name: str) -> str:
    """The name of a backbone in timm, without the prefix."""
    return name.removeprefix(PREFIX)
