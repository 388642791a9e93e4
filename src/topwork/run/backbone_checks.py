"""Checks of parameters that need the network itself, before any long work; torch is imported here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.core.fits import MULTICROP, ONE_CROP
from topwork.core.parameters import DistilledParameters, FeatureParameters, ScratchParameters
from topwork.core.results import Candidate
from topwork.models.candidates import list_candidates
from topwork.run.preflight import AUTO

_INSTALLED_BACKBONE, _OWN_NETWORK = "efficientnet_lite0", "shallow"
_SET_WEIGHTS = {"default", "none"}  # values that are not the name of a file


def check_backbones(names: Sequence[str], strategies: Sequence[str], parameters: Mapping[str, Any]) -> None:
    """Check that the networks of the run have their weights, and work with the image size and layers.

    The default network is installed and takes any size, so that it needs no check and no import of torch.

    Raises:
        InputError: a network cannot be used with these parameters.

    """
    of_features = FeatureParameters.model_validate(parameters["features"])
    of_scratch = ScratchParameters.model_validate(parameters["scratch"])
    candidates = list_candidates(of_features, None) if {"__default__", "features", "finetune"} & set(names) else ()
    for each in candidates:
        _check_features(each, of_features)
    if "finetune" in strategies and {"__default__", "finetune"} & set(names):
        for each in candidates:
            _check_has_layers(each.backbone, parameters["strategies"])
            _check_trainable_groups(str(parameters["finetune"]["trainable_groups"]), each, of_features.seed)
    _check_one_crop("finetune", of_features.fit, names, strategies, parameters["strategies"])
    _check_one_crop("scratch", of_scratch.fit, names, strategies, parameters["strategies"])
    of_distilled = DistilledParameters.model_validate(parameters["distilled"])
    _check_one_crop("distilled", of_distilled.fit, names, strategies, parameters["strategies"])
    own = of_distilled.backbone, of_distilled.weights
    if "distilled" in strategies and own != (_INSTALLED_BACKBONE, "default"):
        _check_has_layers(of_distilled.backbone, parameters["strategies"], "distilled", "distilled.backbone")
        _try_out(*own, of_distilled.side, of_distilled.seed, "last", "average")
    if "scratch" in strategies and of_scratch.backbone != _OWN_NETWORK:
        _try_out(of_scratch.backbone, "none", of_scratch.side, of_scratch.seed, "last", "average")


def _check_features(candidate: Candidate, parameters: FeatureParameters) -> None:
    backbone, weights, layers = candidate.backbone, parameters.weights, candidate.layers
    if weights not in _SET_WEIGHTS and not Path(weights).is_file():
        raise InputError(f"weights={weights}: there is no such file (`default` and `none` are the other choices).")
    if (backbone, layers, weights) != (_INSTALLED_BACKBONE, "last", "default"):
        _try_out(backbone, weights, candidate.image_size, parameters.seed, layers, parameters.pool)


def _try_out(backbone: str, weights: str, image_size: int | None, seed: int, layers: str, pool: str) -> None:
    from topwork.models.backbones import describe_backbone, load_backbone, try_out

    spec = describe_backbone(backbone, weights, image_size, seed)
    try_out(spec, layers, pool)
    if weights not in _SET_WEIGHTS:
        load_backbone(spec)  # fails if the file does not fit this network


def _check_has_layers(backbone: str, wanted: str, strategy: str = "finetune", name: str = "backbone") -> None:
    if backbone.startswith(OWN_EXTRACTOR) and wanted != AUTO:
        raise InputError(
            f"strategies={wanted}: {strategy} trains the layers of a network, and {name}={backbone} has none. Leave "
            f"{strategy} out, or write strategies=auto."
        )


def _check_one_crop(strategy: str, fit: str, names: Sequence[str], strategies: Sequence[str], wanted: str) -> None:
    asked = strategy in strategies and {"__default__", strategy} & set(names)
    if asked and fit == MULTICROP and AUTO not in wanted.split("+"):
        raise InputError(ONE_CROP.format(strategy=strategy))


def _check_trainable_groups(wanted: str, candidate: Candidate, seed: int) -> None:
    """Check the name or number of layer groups, for which the network is built without its weights."""
    if wanted in {"auto", "all"}:
        return
    from topwork.models.backbones import describe_backbone, load_backbone
    from topwork.models.layer_groups import first_trainable, layer_groups

    spec = describe_backbone(candidate.backbone, "none", candidate.image_size, seed)
    first_trainable(layer_groups(load_backbone(spec).trunk), wanted)
