"""Finds the feature key for the parameters, and builds the engine that computes such features."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import cache

from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.core.features import FeatureKey
from topwork.core.fits import CROP
from topwork.core.greys import fixed
from topwork.core.parameters import FeatureParameters
from topwork.core.stores import EngineStore
from topwork.images.decode import DECODER, REDUCER
from topwork.images.transforms import SCALER, Preprocessing
from topwork.models.engines import REFERENCE, Engine, Recipe, build_engine
from topwork.models.requested_features import resolution_request
from topwork.workers import is_worker

ORIGINAL_VIEW = "original"
PIXELS = f"{DECODER} {REDUCER} {SCALER}"
"""Names of all processing steps from the bytes of a file to the pixels that a network receives."""

_log = logging.getLogger(__name__)
_KEPT: dict[str, Engine] = {}


def resolved_key(parameters: FeatureParameters, engines: EngineStore) -> FeatureKey:
    """The feature key of the originals: everything besides the image that the vectors depend on.

    For a request that was resolved before on the same kind of machine, the stored key is returned, and torch is not
    imported. Otherwise the network is loaded, and the engine is chosen by measurements. How an image is fitted into the
    square changes nothing for the engine: it is chosen, and stored, for a crop.
    """
    request = resolution_request(parameters)
    key = engines.recall(request)
    if key is None:
        key, measured = _resolved(parameters, engines)
        engines.remember(request, key, measured)
    if parameters.fitted_by == CROP:
        return key
    how = Preprocessing(**key.preprocessing).fitted(parameters.fitted_by, parameters.fit_colour)
    return replace(key, preprocessing=how.fields)


def engine_for(key: FeatureKey, parameters: FeatureParameters, engines: EngineStore) -> Engine:
    """The engine that computes features under this key; a worker keeps it for its next parts."""
    if not is_worker():
        return build_engine(_recipe(key, parameters, engines))
    name = text_digest(f"{key.digest} {parameters}")
    if name not in _KEPT:
        _KEPT[name] = build_engine(_recipe(key, parameters, engines))
    return _KEPT[name]


def _resolved(parameters: FeatureParameters, engines: EngineStore) -> tuple[FeatureKey, Sequence[dict[str, object]]]:
    from topwork.models.backbones import describe_backbone, load_backbone, resolve_layers
    from topwork.models.engines.selection import choose_engine

    p = parameters
    spec = describe_backbone(p.backbone, p.weights, p.side, p.seed, fixed(p.white))
    layers: tuple[str, ...] = (parameters.layers,)
    if parameters.layers != "last":
        layers = resolve_layers(load_backbone(spec), parameters.layers)
    key = FeatureKey(
        backbone=spec.architecture,
        weights=spec.weights_digest,
        preprocessing=spec.preprocessing.fields,
        layers=layers,
        pool=parameters.pool if layers != ("last",) else "own",  # the network's own pooling
        view=ORIGINAL_VIEW,
        engine="",
        number_format="",
        decoder=PIXELS,
    )
    allowed = (p.engine, p.number_format) if key.has_layers else _of_own_extractor(p)
    recipe, trials = choose_engine(_recipe(key, parameters, engines), *allowed)
    for trial in trials:
        _log.debug(
            "%s, %d px, %s in %s: %.0f images/s, cosine with float32 %.4f, equal predictions %.0f %%",
            *(
                spec.name,
                spec.preprocessing.crop,
                trial.engine,
                trial.number_format,
                trial.images_per_second,
                trial.cosine,
                100 * trial.agreement,
            ),
        )
    fields = {**vars(key), "engine": recipe.engine, "number_format": recipe.number_format}
    return FeatureKey(**fields), [asdict(trial) for trial in trials]


def _of_own_extractor(parameters: FeatureParameters) -> tuple[str, str]:
    """Engine and number format of the user's own code, which is called as it is."""
    for name, asked, only in zip(
        ("engine", "number_format"), (parameters.engine, parameters.number_format), REFERENCE, strict=True
    ):
        if asked not in {"auto", only}:
            raise InputError(
                f"features.{name}={asked}: {parameters.backbone} is called as it is; leave out features.{name}."
            )
    return REFERENCE


def _recipe(key: FeatureKey, parameters: FeatureParameters, engines: EngineStore) -> Recipe:
    from topwork.models.backbones import Backbone, describe_backbone, load_backbone

    how = Preprocessing(**key.preprocessing)

    @cache
    def backbone() -> Backbone:
        p = parameters
        return load_backbone(describe_backbone(p.backbone, p.weights, how.crop, p.seed, how.white))

    return Recipe(
        engine=key.engine,
        number_format=key.number_format,
        layers=key.layers,
        pool=parameters.pool,
        preprocessing=how,
        backbone=backbone,
        batch_size=parameters.batch_size,
        networks=engines,
        network_name=text_digest(f"{key.backbone} {key.weights} {key.layers} {key.pool} {key.preprocessing['crop']}"),
    )
