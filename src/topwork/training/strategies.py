"""Two strategies that train a network: from pretrained weights, usually with a probe as head, or from scratch."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Classifier
from topwork.core.digests import arrays_digest
from topwork.core.errors import InputError
from topwork.core.features import Features
from topwork.core.fits import ONE_CROP
from topwork.core.greys import fixed, settled_at
from topwork.core.heads import LinearHead
from topwork.core.parameters import (
    ComparisonParameters,
    DistilledParameters,
    FeatureParameters,
    FinetuneParameters,
    LinearParameters,
    NetworkParameters,
    ScratchParameters,
)
from topwork.core.stores import Stores
from topwork.images.transforms import Preprocessing
from topwork.images.views import ViewPlan
from topwork.models.backbones import Backbone, describe_backbone, load_backbone
from topwork.models.engines import REFERENCE
from topwork.models.engines.hardware import accelerator
from topwork.models.feature_key import PIXELS
from topwork.models.graft import Graft, grafted_key, starting_at_group
from topwork.models.layer_groups import first_with_weights, layer_groups
from topwork.scoring.metric import Metric
from topwork.training import defaults
from topwork.training.grafting import (
    FINAL,
    INDIFFERENT,
    TrainedNetwork,
    TrainingImages,
    TrainingJob,
    plan_finetune,
    plan_scratch,
    prefix_name,
    train_grafts,
)
from topwork.training.heads import Examples, logistic
from topwork.training.linear import fit_head, multinomial_logistic
from topwork.training.loop import FitPlan, bottleneck_features
from topwork.training.prefix import cached_samples, why_not_cached
from topwork.training.samples import ImageSamples, Samples

_WithOwnInput = ScratchParameters | DistilledParameters
_SHARD = 4096  # an eighth of it is written at a time
_log = logging.getLogger(__name__)


def finetune(
    examples: TrainingImages,
    features: Features,
    probe: Mapping[str, Any],
    stores: Stores,
    parameters: FinetuneParameters,
    of_features: FeatureParameters,
    of_probe: LinearParameters,
    views: ViewPlan,
    split_digest: str,
    comparison: ComparisonParameters,
) -> tuple[Classifier, TrainedNetwork]:
    """Train the last layers of a pretrained network together with a new head.

    Args:
        examples: images to learn from.
        features: features of the same images, on which the probe is fitted.
        probe: result of `fit_probe`.
        stores: where images are read, and where features, engines and checkpoints are kept.
        parameters: block `finetune`.
        of_features: backbone, and the layers that are the input of the head.
        of_probe: how the probe is fitted.
        views: plan of the augmented views.
        split_digest: digest of the splits.
        comparison: whose metric chooses the epoch.

    """
    started = time.perf_counter()
    p = settled_at(of_features, Preprocessing(**features.key.preprocessing).white)
    spec = describe_backbone(p.backbone, p.weights, p.side, p.seed, fixed(p.white), p.fitted_by, p.fit_colour)
    layers, pool, classes = features.key.layers, of_features.pool, len(examples.class_names)
    backbone = load_backbone(spec)
    groups = layer_groups(backbone.trunk)
    far = defaults.is_far(probe["accuracy"], classes)
    plan = plan_finetune(parameters, len(examples.table), groups, Metric.of(comparison, examples.class_names), far=far)
    learning = len(groups) - plan.first
    _log.info("%d of %d groups of layers learn, from %s on", learning, len(groups), groups[plan.first].name)

    def graft_for(rows: Integers, fold: int) -> Graft:
        graft = _graft(load_backbone(spec), layers, pool, parameters, classes, fold)
        if parameters.head == "probe":
            at = features.positions(examples.table["image_id"].to_numpy()[rows].tolist())
            shown = np.concatenate([features.vectors[None, at], features.views[:, at]])
            graft.plant(_probe_head(shown, examples, probe, rows, fold, of_probe))
        return graft

    identity = {**dict(features.requested), "content": features.content, "splits": split_digest, "views": views}
    identity |= parameters.model_dump(exclude=INDIFFERENT) | {"probe": str(sorted(probe.items()))}
    samples = _samples(examples, backbone, layers, plan, views, stores, prefix_name(identity), parameters, p)
    job = TrainingJob("finetune", graft_for, samples, examples, parameters, plan, stores.checkpoints, identity, started)
    trained = train_grafts(job)
    classifier = _classifier(
        "finetune", trained, backbone, layers, pool, parameters, examples, split_digest, features.content
    )
    return classifier, trained


def train_from_scratch(
    examples: TrainingImages,
    stores: Stores,
    parameters: ScratchParameters,
    views: ViewPlan,
    split_digest: str,
    content: str,
    comparison: ComparisonParameters,
) -> tuple[Classifier, TrainedNetwork]:
    """Train a network from random weights on the images alone.

    If it begins with a fixed transformation of the image, the result of this is cached like that of frozen layers.
    """
    started = time.perf_counter()
    p = parameters
    spec = describe_backbone(p.backbone, "none", p.side, p.seed, fixed(p.white), p.fitted_by, p.fit_colour)
    layers, classes, backbone = ("last",), len(examples.class_names), load_backbone(spec)
    first = first_with_weights(backbone.trunk, layer_groups(backbone.trunk))
    plan = plan_scratch(parameters, len(examples.table), first, Metric.of(comparison, examples.class_names))
    identity = {"content": content, "splits": split_digest, "views": views, "weights": spec.weights_digest}
    identity |= parameters.model_dump(exclude=INDIFFERENT)

    def graft_for(_rows: Integers, fold: int) -> Graft:
        return _graft(load_backbone(spec), layers, "average", parameters, classes, fold)

    how = _features_before(parameters, spec.preprocessing.crop)
    samples = _samples(examples, backbone, layers, plan, views, stores, prefix_name(identity), parameters, how)
    job = TrainingJob("scratch", graft_for, samples, examples, parameters, plan, stores.checkpoints, identity, started)
    trained = train_grafts(job)
    classifier = _classifier("scratch", trained, backbone, layers, "own", parameters, examples, split_digest, content)
    return classifier, trained


def distil(
    examples: TrainingImages,
    stores: Stores,
    parameters: DistilledParameters,
    of_probe: LinearParameters,
    views: ViewPlan,
    split_digest: str,
    content: str,
    comparison: ComparisonParameters,
) -> tuple[Classifier, TrainedNetwork]:
    """Train the last layers of a pretrained network, and a new head, on the probabilities of a teacher.

    The head begins as a probe on the network's features, as in `finetune`.

    Args:
        examples: images to learn from, with the probabilities as targets.
        stores: where images are read, and where features, engines and checkpoints are kept.
        parameters: block `distilled`.
        of_probe: how the probe is fitted.
        views: plan of the augmented views.
        split_digest: digest of the splits.
        content: digest of the images.
        comparison: whose metric chooses the epoch.

    """
    started = time.perf_counter()
    p, everybody = parameters, np.arange(len(examples.table))
    spec = describe_backbone(p.backbone, p.weights, p.side, p.seed, fixed(p.white), p.fitted_by, p.fit_colour)
    layers, classes, backbone = ("last",), len(examples.class_names), load_backbone(spec)
    groups = layer_groups(backbone.trunk)
    metric = Metric.of(comparison, examples.class_names)
    identity = {"content": content, "splits": split_digest, "views": views, "weights": spec.weights_digest}
    identity |= p.model_dump(exclude=INDIFFERENT) | {
        "targets": arrays_digest([] if examples.targets is None else [examples.targets])
    }
    plan = plan_finetune(p, len(examples.table), groups, metric, far=False)
    how = _features_before(p, spec.preprocessing.crop, p.weights)
    samples = _samples(examples, backbone, layers, plan, views, stores, prefix_name(identity), p, how)
    untrained = _graft(load_backbone(spec), layers, "average", p, classes, FINAL)
    planted = p.head == "probe"
    vectors = _untrained_features(untrained, samples, everybody, plan) if planted else np.empty((0, 0))
    probe = _fitted_probe(vectors, examples, of_probe) if planted else {}

    def graft_for(rows: Integers, fold: int) -> Graft:
        graft = _graft(load_backbone(spec), layers, "average", p, classes, fold)
        if planted:
            graft.plant(_probe_head(vectors[None, rows], examples, probe, rows, fold, of_probe))
        return graft

    job = TrainingJob("distilled", graft_for, samples, examples, p, plan, stores.checkpoints, identity, started)
    trained = train_grafts(job)
    classifier = _classifier("distilled", trained, backbone, layers, "own", p, examples, split_digest, content)
    return classifier, trained


def _untrained_features(graft: Graft, samples: Samples, rows: Integers, plan: FitPlan) -> Floats:
    graft.to(accelerator(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with starting_at_group(graft.trunk, graft.groups, samples.starts_at):
        return bottleneck_features(graft, samples, rows, plan.batch_size, plan.threads)


def _fitted_probe(vectors: Floats, examples: TrainingImages, of_probe: LinearParameters) -> Mapping[str, Any]:
    """What `fit_probe` tells of the probe, on features ``[n, d]`` of the originals."""
    folds = examples.table["fold"].to_numpy()
    shown = Examples(vectors[None], examples.truth, folds, len(examples.class_names), average=False)
    return logistic.fit(shown, of_probe).facts


def _samples(
    examples: TrainingImages,
    backbone: Backbone,
    layers: tuple[str, ...],
    plan: FitPlan,
    views: ViewPlan,
    stores: Stores,
    name: str,
    parameters: NetworkParameters,
    of_features: FeatureParameters,
) -> Samples:
    if len(backbone.spec.preprocessing.places) > 1:
        raise InputError(ONE_CROP.format(strategy="a network"))
    reason = why_not_cached(backbone, layers, plan, len(examples.table), parameters)
    if reason:
        if plan.first:
            _log.info("images go through all layers in every epoch: %s", reason)
        how = backbone.spec.preprocessing
        return ImageSamples(stores.images, examples.contents, how, views, parameters.max_pixels)
    return cached_samples(examples.contents, backbone, plan, views, stores, name, parameters, of_features)


def _features_before(parameters: _WithOwnInput, side: int, weights: str = "none") -> FeatureParameters:
    """How the fixed first part of a network is computed: exactly, so that training and serving agree."""
    p = parameters
    return FeatureParameters(
        backbone=p.backbone,
        weights=weights,
        image_size=side,
        fit=p.fitted_by,
        fit_colour=p.fit_colour,
        white=p.white,
        seed=p.seed,
        layers="last",
        pool="none",
        engine=REFERENCE[0],
        number_format=REFERENCE[1],
        batch_size=None,
        shard_size=_SHARD,
        threads=p.threads,
        max_pixels=p.max_pixels,
    )


def _probe_head(
    shown: Floats,
    examples: TrainingImages,
    probe: Mapping[str, Any],
    rows: Integers,
    fold: int,
    of_probe: LinearParameters,
) -> LinearHead:
    """The logistic head fitted on the features ``[s, n, d]`` of these rows, with the C chosen without the fold."""
    C = probe["C"] if fold == FINAL else probe["C_by_fold"][str(fold)]
    estimator = multinomial_logistic(of_probe.class_weight, of_probe.max_iterations)
    return fit_head(estimator(C), shown, examples.truth[rows], len(examples.class_names))


def _graft(
    backbone: Backbone, layers: tuple[str, ...], pool: str, parameters: NetworkParameters, classes: int, fold: int
) -> Graft:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(parameters.seed + 1 + fold)  # for the new weights: dense layers and a random head
        return Graft(backbone, layers, pool, parameters.hidden, parameters.dropout, classes)


def _classifier(
    strategy: str,
    trained: TrainedNetwork,
    backbone: Backbone,
    layers: tuple[str, ...],
    pool: str,
    parameters: NetworkParameters,
    examples: TrainingImages,
    split_digest: str,
    content: str,
) -> Classifier:
    return Classifier(
        strategy=strategy,
        key=grafted_key(
            backbone.spec, layers, pool if layers != ("last",) else "own", PIXELS, _digest(trained.network)
        ),
        head=trained.head,
        class_names=examples.class_names,
        temperature=trained.temperature,
        split_digest=split_digest,
        training=trained.facts,
        network=trained.network,
        hidden=tuple(parameters.hidden),
        frozen=False,
        data_digest=content,
        rejection=trained.rejection,
    )


def _digest(tensors: Mapping[str, Floats]) -> str:
    """SHA-256 of the names and contents of the tensors."""
    digest = hashlib.sha256()
    for name, value in tensors.items():
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
