"""Activations of the frozen layers for images and views, computed once and cached in the feature store."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import torch

from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.parameters import FeatureParameters, NetworkParameters
from topwork.core.stores import FeatureStore, Stores
from topwork.core.words import counted
from topwork.images.views import ViewPlan
from topwork.models.backbones import Backbone
from topwork.models.extraction import Extraction, extract_missing, view_keys
from topwork.models.feature_key import engine_for, resolved_key
from topwork.models.graft import boundary_layer, can_start_from
from topwork.models.layer_groups import layer_groups
from topwork.training.loop import FitPlan
from topwork.training.samples import ActivationSamples

_TRIED = 256  # images that are timed to estimate the total time
_SHARE = 1 / 4  # of the minutes, for the frozen layers
_VIEW_COST = 1.5  # cost of a view as a factor of the cost of an original: it is drawn and resampled
_BYTES = 2  # per number, float16

_log = logging.getLogger(__name__)


def why_not_cached(backbone: Backbone, layers: Sequence[str], plan: FitPlan, images: int, p: NetworkParameters) -> str:
    """The reason why the frozen layers must run in every epoch, or an empty text if they need not.

    Raises:
        InputError: there is a reason, but the parameter ``cache`` is ``always``.

    """
    reason = ""
    if plan.first == 0:
        reason = "all layers learn"
    elif p.cache == "never":
        reason = "cache=never"
    elif plan.mixup or plan.cutmix:
        reason = "images are mixed before the first layer"
    elif plan.batch_norm == "none":
        reason = "the statistics of frozen layers adapt"
    elif not can_start_from(backbone, layers, plan.first):
        reason = "this network is no chain of its layers"
    elif (size := _gigabytes(backbone, plan.first, images, 0)) > p.cache_gigabytes:
        reason = f"{size:.1f} GB are more than cache_gigabytes={p.cache_gigabytes:g}"
    if reason and p.cache == "always":
        raise InputError(f"cache=always: cannot be, since {reason}.")
    return reason


def cached_samples(
    contents: Sequence[tuple[str, str]],
    backbone: Backbone,
    plan: FitPlan,
    views: ViewPlan,
    stores: Stores,
    name: str,
    p: NetworkParameters,
    of_features: FeatureParameters,
) -> ActivationSamples:
    """Activations of the frozen layers; those that are not in the store are computed first.

    The number of views is limited by the epochs, the disk space and the minutes. It is stored under ``name``, so that a
    training that continues uses the same views.
    """
    boundary = boundary_layer(layer_groups(backbone.trunk), plan.first)
    at_boundary = of_features.model_copy(update={"layers": boundary, "pool": "none"})
    known, key = stores.features, resolved_key(at_boundary, stores.engines)
    engine = cache(lambda: engine_for(key, at_boundary, stores.engines))
    how = Extraction(max(16, at_boundary.shard_size // 8), at_boundary.threads, at_boundary.max_pixels)
    by_content = {sha256: image_id for image_id, sha256 in contents}

    def extract(some: Mapping[str, str], count: int) -> None:
        for shard in extract_missing(stores.images, some, known, key, engine, how, views, count):
            known.put(shard)

    count = min(p.cache_views, math.ceil(plan.epochs) - 1)
    while count and _gigabytes(backbone, plan.first, len(by_content), count) > p.cache_gigabytes:
        count -= 1
    if remembered := stores.checkpoints.get(name):
        count = remembered[1]["views"]
    else:
        count = min(count, _affordable(by_content, known, key, extract, p.minutes))
        stores.checkpoints.put(name, {}, {"views": count})
    _log.info(
        "frozen layers (up to %s) are computed once for each image and %s of it (%.2f GB at most)",
        *(boundary, counted(count, "view"), _gigabytes(backbone, plan.first, len(by_content), count)),
    )
    extract(by_content, count)
    digests = [sha256 for _, sha256 in contents]
    keys = [key, *view_keys(key, views, count).values()]
    return ActivationSamples([known.rows(of, digests) for of in keys], _shape(backbone, plan.first), plan.first)


def _affordable(
    contents: Mapping[str, str],
    known: FeatureStore,
    key: FeatureKey,
    extract: Callable[[Mapping[str, str], int], None],
    minutes: float | None,
) -> int:
    """Number of views that can be computed in their share of the minutes, estimated from the time of some originals."""
    some = dict(list(contents.items())[:_TRIED])
    lacking = len(known.missing(key, list(some)))
    if minutes is None or not lacking:
        return 64
    extract(dict(list(some.items())[:8]), 0)  # not timed: the engine is built in the first call
    lacking = len(known.missing(key, list(some)))
    start = time.perf_counter()
    extract(some, 0)
    an_image = (time.perf_counter() - start) / max(1, lacking)
    affordable = _SHARE * 60 * minutes / max(1e-9, an_image * len(contents))
    return max(0, int((affordable - 1) / _VIEW_COST))


def _gigabytes(backbone: Backbone, first: int, images: int, views: int) -> float:
    return _BYTES * float(np.prod(_shape(backbone, first))) * images * (1 + views) / 1e9


def _shape(backbone: Backbone, first: int) -> tuple[int, ...]:
    """Shape of the activations of one image at the boundary between frozen and learning layers."""
    taken: list[torch.Tensor] = []
    layer = backbone.trunk.get_submodule(boundary_layer(layer_groups(backbone.trunk), first))
    handle = layer.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    side = backbone.spec.preprocessing.crop
    with torch.inference_mode():
        backbone.trunk(torch.zeros(1, 3, side, side))
    handle.remove()
    return tuple(taken[0].shape[1:])
