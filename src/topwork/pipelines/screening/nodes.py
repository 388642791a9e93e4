"""Compares candidate features by a quick probe on some of the images.

Networks are imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.candidates import AUTO
from topwork.core.columns import OK, TEST
from topwork.core.features import FeatureKey, FeatureShard
from topwork.core.fits import MANY_UNEVEN, far_from_square
from topwork.core.greys import settled
from topwork.core.parameters import ComparisonParameters, FeatureParameters, LinearParameters, ScreeningParameters
from topwork.core.results import Candidate, Candidates, Screen, Screened
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.decisions.fit_choice import why_no_fits
from topwork.decisions.screen import rank, sample_rows
from topwork.models.candidates import list_candidates
from topwork.models.extraction import Extraction, extract_for_keys, on_workers
from topwork.models.feature_key import engine_for, resolved_key
from topwork.scoring.metric import Metric

_log = logging.getLogger(__name__)


def find_candidates(manifest: pd.DataFrame, parameters: FeatureParameters) -> Candidates:
    """The candidates of the run; `image_size=auto` looks at the sizes of the images, and `fit=auto` at their shapes."""
    usable = manifest[manifest["status"] == OK]
    median = float(usable[["width", "height"]].min(axis=1).median())
    return Candidates(list_candidates(parameters, median, far_from_square(usable)))


def extract_sample(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    grey_range: dict[str, Any],
    candidates: Candidates,
    parameters: FeatureParameters,
    screening: ScreeningParameters,
) -> Iterator[FeatureShard]:
    """Shards with the missing features of the images on which the candidates are compared."""
    if candidates.several:
        sample = _sample(splits, manifest, screening)
        yield from _extract(images, sample, known_features, engines, candidates.root, settled(parameters, grey_range))


def rank_candidates(
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    sample_shards: FeatureStore,
    engines: EngineStore,
    grey_range: dict[str, Any],
    candidates: Candidates,
    linear: LinearParameters,
    parameters: FeatureParameters,
    screening: ScreeningParameters,
    comparison: ComparisonParameters,
) -> Screen:
    """The candidates, best first, by the score of a linear probe out of fold; the test split is not used."""
    uneven = far_from_square(manifest[manifest["status"] == OK])
    untried = why_no_fits(uneven) if parameters.fit == AUTO and uneven < MANY_UNEVEN else ""
    if untried:
        _log.info(untried)
    if not candidates.several:
        return Screen(candidates=tuple(Screened(**vars(each)) for each in candidates.root), fits=untried)
    sample = _sample(splits, manifest, screening)
    how = settled(parameters, grey_range)
    keys = (resolved_key(of_candidate(how, each), engines) for each in candidates.root)
    vectors = (sample_shards.get(key, sample["sha256"].tolist()) for key in keys)
    class_names, truth = np.unique(sample["label"], return_inverse=True)
    metric = Metric.of(comparison, class_names.tolist())
    folds, groups = sample["fold"].to_numpy(), sample["group"].to_numpy(dtype=str)
    screen = rank(candidates.root, vectors, truth, folds, groups, linear, screening, metric)
    for each in screen.candidates:
        verdict = "" if each.kept else f", left out ({each.why_not})"
        told = "%s: %s %.3f out of fold on %d images%s"
        _log.info(told, each.name, metric.title, metric.shown(each.score), screen.images, verdict)
    if screen.fits:
        _log.info(screen.fits)
    return screen.model_copy(update={"fits": screen.fits or untried})


def extract_kept(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    grey_range: dict[str, Any],
    screen: Screen,
    parameters: FeatureParameters,
) -> Iterator[FeatureShard]:
    """Shards with the missing features of all images for the candidates that were kept; each file is read once."""
    if screen.others:
        usable, kept = manifest[manifest["status"] == OK], (screen.chosen, *screen.others)
        yield from _extract(images, usable, known_features, engines, kept, settled(parameters, grey_range))


def of_candidate(parameters: FeatureParameters, candidate: Candidate) -> FeatureParameters:
    """The parameters for the features of one candidate."""
    return parameters.model_copy(update=candidate.model_dump(include={"backbone", "layers", "image_size", "fit"}))


def _sample(splits: pd.DataFrame, manifest: pd.DataFrame, screening: ScreeningParameters) -> pd.DataFrame:
    """The images on which the candidates are compared, with their SHA-256."""
    learnt = splits[splits["split"] != TEST]
    truth = np.unique(learnt["label"], return_inverse=True)[1]
    some = learnt.iloc[sample_rows(truth, screening.images, screening.seed)]
    return some.assign(sha256=some["image_id"].map(manifest.set_index("image_id")["sha256"]))


def _extract(
    images: ImageStore,
    table: pd.DataFrame,
    known: FeatureStore,
    engines: EngineStore,
    candidates: Sequence[Candidate],
    parameters: FeatureParameters,
) -> Iterator[FeatureShard]:
    distinct = table.drop_duplicates("sha256")
    contents = dict(zip(distinct["sha256"], distinct["image_id"], strict=True))
    asked = [of_candidate(parameters, each) for each in candidates]
    wanted = [(resolved_key(each, engines), each) for each in asked]
    extract = partial(_extract_wanted, wanted, engines)
    yield from on_workers(extract, [key for key, _ in wanted], images, contents, known)


def _extract_wanted(
    wanted: Sequence[tuple[FeatureKey, FeatureParameters]],
    engines: EngineStore,
    images: Mapping[str, bytes],
    contents: Mapping[str, str],
    known: FeatureStore,
) -> Iterator[FeatureShard]:
    builders = [(key, cache(partial(engine_for, key, asked, engines))) for key, asked in wanted]
    p = wanted[0][1]
    yield from extract_for_keys(images, contents, known, builders, Extraction(p.shard_size, p.threads, p.max_pixels))
