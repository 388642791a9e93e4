"""The features among which a run can choose: backbones, their layers, image sizes, and how images are fitted."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

from topwork.core.candidates import AUTO, INSTALLED, backbone_names, short_name, told_apart
from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.core.fits import CROP, MANY_UNEVEN, TRIED
from topwork.core.parameters import FeatureParameters
from topwork.core.results import Candidate

_AUTO_LAYERS = ("last", "middle", "all")
_SMALLER = 0.75  # images whose short side is below this share of the weights' size are tried at their own size too
_STEP, _LEAST = 32, 64  # pixels; sizes that are tried are multiples of 32, which most networks accept


def list_candidates(
    parameters: FeatureParameters, median_side: float | None, uneven: float = 0.0
) -> tuple[Candidate, ...]:
    """The candidates in the order of the parameters, each once.

    Args:
        parameters: block `features`.
        median_side: median of the images' short sides in pixels; `image_size=auto` tries it if the weights were made
            for larger images. None: the candidates before the images are known, without these sizes.
        uneven: share of the images that are far from square; `fit=auto` tries several ways if there are many.

    Raises:
        InputError: there is no such backbone, or one file of weights is given for several backbones.

    """
    p = parameters
    if backbone_names(p.backbone) != [p.backbone] and "" in p.backbone.split("+"):
        raise InputError(f"backbone={p.backbone}: a name is missing before or after a `+`.")
    names = [each for name in backbone_names(p.backbone) for each in (_installed() if name == INSTALLED else [name])]
    if len(names) > 1 and p.weights not in {"default", "none"}:
        raise InputError(f"weights={p.weights}: a file of weights belongs to one backbone, not to {len(names)}.")
    found, fits = [], TRIED if p.fit == AUTO and uneven >= MANY_UNEVEN else (p.fitted_by,)
    for name in dict.fromkeys(names):
        own = name.startswith(OWN_EXTRACTOR)
        layers = ("last",) if own else _AUTO_LAYERS if p.layers == AUTO else tuple(p.layers.split("|"))
        sizes = _sizes(name, median_side) if p.image_size == AUTO and not own else [p.side]
        found += [
            Candidate(backbone=name, layers=each, image_size=size, fit=fit)
            for each, size, fit in product(layers, sizes, fits)
        ]
    return tuple(_named(found))


def _sizes(name: str, median_side: float | None) -> Iterator[int]:
    """The size that the weights were made for, and the one of the files if they are smaller."""
    from topwork.models.backbones import describe_backbone

    own = describe_backbone(name, "none").preprocessing.crop
    yield own
    files = max(_LEAST, round((median_side or own) / _STEP) * _STEP)
    if files <= _SMALLER * own:
        yield files


def _named(candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """The candidates with names that say in what they differ, and with folder names."""
    names = told_apart([(each.backbone, each.image_size, each.layers) for each in candidates])
    several_fits = len({each.fit for each in candidates}) > 1
    for candidate, features in zip(candidates, names, strict=True):
        name = " ".join(filter(None, (features, candidate.fit if several_fits else "")))
        whole = f"{short_name(candidate.backbone)} {candidate.image_size or ''} {candidate.layers}"
        if candidate.fit != CROP:
            whole += f" {candidate.fit}"
        if "/" in candidate.backbone:  # folders of one name in different places
            whole += f" {text_digest(candidate.backbone)[:8]}"
        slot = re.sub(r"[^\w.-]+", "-", whole).strip("-")
        yield candidate.model_copy(update={"name": name or short_name(candidate.backbone), "slot": slot})


def _installed() -> list[str]:
    """Backbones whose weights are on this machine: those of installed packages, and those that torch has downloaded."""
    import torch
    from torchvision import models

    from topwork.models.sources import EMBEDDED

    packaged = [name for name, entry in EMBEDDED.items() if importlib.util.find_spec(entry.package)]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    downloaded = []
    for name in models.list_models(module=models):
        weights = models.get_model_weights(name)
        if len(weights) and (folder / weights.DEFAULT.url.rsplit("/", maxsplit=1)[-1]).is_file():
            downloaded.append(name)
    return [*packaged, *downloaded]
