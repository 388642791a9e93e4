"""Checks of parameters that need the network itself, before any long work; torch is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.run.preflight import AUTO

_INSTALLED_BACKBONE, _OWN_NETWORK = "efficientnet_lite0", "shallow"
_SET_WEIGHTS = {"default", "none"}  # values that are not the name of a file


def check_backbones(names: Sequence[str], strategies: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Check that the networks of the run have their weights, and work with the image size and layers.

    The default network is installed and takes any size, so that it needs no check and no import of torch.

    Raises:
        InputError: a network cannot be used with these parameters.

    """
    of_features, of_scratch = parameters["features"], parameters["scratch"]
    if {"__default__", "features", "finetune"} & set(names):
        _check_features(of_features)
    if "finetune" in strategies and {"__default__", "finetune"} & set(names):
        _check_has_layers(str(of_features["backbone"]), parameters["strategies"])
        _check_trainable_groups(str(parameters["finetune"]["trainable_groups"]), of_features)
    if "scratch" in strategies and of_scratch["backbone"] != _OWN_NETWORK:
        _try_out(str(of_scratch["backbone"]), "none", of_scratch, "last", "average")


def _check_features(parameters: Mapping[str, Any]) -> None:
    backbone, weights, layers = (str(parameters[name]) for name in ("backbone", "weights", "layers"))
    if weights not in _SET_WEIGHTS and not Path(weights).is_file():
        raise InputError(f"weights={weights}: there is no such file (`default` and `none` are the other choices).")
    if (backbone, layers, weights) != (_INSTALLED_BACKBONE, "last", "default"):
        _try_out(backbone, weights, parameters, layers, str(parameters["pool"]))


def _try_out(backbone: str, weights: str, parameters: Mapping[str, Any], layers: str, pool: str) -> None:
    from topwork.models.backbones import describe_backbone, load_backbone, try_out

    spec = describe_backbone(backbone, weights, parameters["image_size"], parameters["seed"])
    try_out(spec, layers, pool)
    if weights not in _SET_WEIGHTS:
        load_backbone(spec)  # fails if the file does not fit this network


def _check_has_layers(backbone: str, wanted: str) -> None:
    if backbone.startswith(OWN_EXTRACTOR) and wanted != AUTO:
        raise InputError(
            f"strategies={wanted}: finetune trains the layers of a network, and backbone={backbone} has none. Leave "
            "finetune out, or write strategies=auto."
        )


def _check_trainable_groups(wanted: str, parameters: Mapping[str, Any]) -> None:
    """Check the name or number of layer groups, for which the network is built without its weights."""
    if wanted in {"auto", "all"}:
        return
    from topwork.models.backbones import describe_backbone, load_backbone
    from topwork.models.layer_groups import first_trainable, layer_groups

    spec = describe_backbone(str(parameters["backbone"]), "none", parameters["image_size"], parameters["seed"])
    first_trainable(layer_groups(load_backbone(spec).trunk), wanted)
