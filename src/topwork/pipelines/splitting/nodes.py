"""Finds near-duplicates, splits the images so that they stay together, and measures the effect of leaks."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from topwork.core.columns import NO_FOLD, OK
from topwork.core.features import FeatureKey, Features, FeatureShard
from topwork.core.fits import CROP
from topwork.core.greys import settled
from topwork.core.parameters import DuplicateParameters, FeatureParameters, LinearParameters, SplitParameters
from topwork.core.stores import EngineStore, FeatureStore, ImageStore
from topwork.core.words import counted
from topwork.data.near_duplicates import HASHED_SIDE, PAIR_COLUMNS, find_pairs, link_groups, torn_images
from topwork.data.similar_pairs import has_index
from topwork.data.splits import (
    SplitPlan,
    assign_splits,
    describe_change,
    describe_splits,
    input_digest,
    kept_splits,
    split_rules,
)
from topwork.images.batches import decode_unchanged
from topwork.images.hashes import perceptual_hash
from topwork.images.thumbnails import shortened, thumbnail
from topwork.images.views import PRESETS
from topwork.models.extraction import extract_with, on_workers
from topwork.models.feature_key import resolved_key
from topwork.reporting.plots import plot_sheet
from topwork.scoring.metrics import proportion_interval
from topwork.training.linear import multinomial_logistic, out_of_fold_scores

_log = logging.getLogger(__name__)
_TOLD_BY = {"merge", "least_cosine", "most_bits"}


def resolve_duplicate_key(
    manifest: pd.DataFrame,
    engines: EngineStore,
    grey_range: dict[str, Any],
    features: FeatureParameters,
    parameters: DuplicateParameters,
) -> FeatureKey:
    """The key of the features that tell near-duplicates: of one network at one size, independent of the run's own.

    Args:
        manifest: not read; images that cannot be used are refused before an engine is measured.
        engines: choices that were made before.
        grey_range: black and white, if `white=percentiles`.
        features: of the block `features`.
        parameters: of the block `duplicates`.

    """
    return resolved_key(_for_duplicates(settled(features, grey_range), parameters), engines)


def describe_for_duplicates(
    images: ImageStore,
    manifest: pd.DataFrame,
    known_features: FeatureStore,
    engines: EngineStore,
    duplicate_key: FeatureKey,
    features: FeatureParameters,
    parameters: DuplicateParameters,
) -> Iterator[FeatureShard]:
    """Shards with the features for finding near-duplicates, of the images for which the store has none.

    The network and the image size are fixed and do not depend on the run's own features, because a split must not
    change with these. A run with the default features has them already.
    """
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    if not _compared(len(usable), parameters):
        return
    asked = _for_duplicates(features, parameters)
    contents = dict(zip(usable["sha256"], usable["image_id"], strict=True))
    extract = partial(extract_with, duplicate_key, asked, engines, PRESETS["none"], 0)
    yield from on_workers(extract, [duplicate_key], images, contents, known_features)


def find_near_duplicates(
    images: ImageStore,
    manifest: pd.DataFrame,
    duplicate_shards: FeatureStore,
    duplicate_key: FeatureKey,
    parameters: DuplicateParameters,
) -> pd.DataFrame:
    """Pairs of images (columns ``PAIR_COLUMNS``) that have different bytes and show the same thing."""
    usable = manifest[manifest["status"] == OK].drop_duplicates("sha256")
    if not _compared(len(usable), parameters):
        _log.warning(
            "near-duplicates were not looked for: %d images, duplicates.at_most is fewer. "
            "`pip install 'topwork[faiss]'` finds them by an index.",
            len(usable),
        )
        return pd.DataFrame(columns=pd.Index(PAIR_COLUMNS))
    contents = list(zip(usable["image_id"], usable["sha256"], strict=True))

    def hash_of(place: int) -> np.uint64:
        return perceptual_hash(decode_unchanged(images, *contents[place], parameters.max_pixels, HASHED_SIDE))

    def hashes(places: Sequence[int]) -> NDArray[np.uint64]:
        with ThreadPoolExecutor(parameters.threads, thread_name_prefix="hash") as pool:
            return np.fromiter(pool.map(hash_of, places), np.uint64, len(places))

    ids = usable["image_id"].tolist()
    digests, indexed = [sha256 for _, sha256 in contents], len(usable) > parameters.at_most
    vectors = (duplicate_shards.rows if indexed else duplicate_shards.get)(duplicate_key, digests)
    pairs = find_pairs(ids, vectors, hashes, parameters.least_cosine, parameters.most_bits, indexed=indexed)
    if len(pairs):
        _log.info("%s of near-duplicates", counted(len(pairs), "pair"))
    return pairs


def split_images(
    images: ImageStore,
    manifest: pd.DataFrame,
    near_duplicates: pd.DataFrame,
    previous_splits: pd.DataFrame,
    parameters: SplitParameters,
    duplicates: DuplicateParameters,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Splits and folds of the usable images, and a report of the images that were kept, excluded and moved."""
    usable = manifest[manifest["status"] == OK]
    given = images.listing.set_index("image_id")["given_split"]
    table = usable[["image_id", "sha256", "label", "group"]].assign(given_split=usable["image_id"].map(given))
    how = duplicates.model_dump(include=_TOLD_BY)
    rules = split_rules(table, _plan(parameters), how)
    if kept := kept_splits(table, previous_splits, rules):
        _log.info(describe_splits(kept[1]))
        return kept
    group = usable.set_index("image_id")["group"]
    linked = link_groups(group, near_duplicates) if duplicates.merge else group
    joined = table.assign(group=linked.to_numpy())
    splits, report = assign_splits(joined, previous_splits, _plan(parameters), how, input_digest(table))
    _log.info(describe_splits(report))
    if change := describe_change(previous_splits, splits, report["moved"]):
        _log.warning(change)
    return splits, report


def report_leaks(
    manifest: pd.DataFrame,
    features: Features,
    near_duplicates: pd.DataFrame,
    splits: pd.DataFrame,
    parameters: SplitParameters,
    linear_parameters: LinearParameters,
) -> dict[str, Any]:
    """Report on a split that ignores near-duplicates: how many images it separates, and its accuracy.

    The accuracy of both splits is out of fold, with logistic regression, on the images that are in no test split. The
    test split is not used.
    """
    usable = manifest[manifest["status"] == OK]
    label = usable.set_index("image_id")["label"]
    labels = [label.loc[near_duplicates[end]].to_numpy() for end in ("image_id", "other")]
    found: dict[str, Any] = {
        "pairs": len(near_duplicates),
        "images": len({*near_duplicates["image_id"], *near_duplicates["other"]}),
        "of_different_labels": int((labels[0] != labels[1]).sum()),
        "torn_here": len(torn_images(near_duplicates, splits.set_index("image_id")["fold"])),
    }
    blind, _ = assign_splits(
        usable[["image_id", "sha256", "label", "group"]].assign(given_split=""), splits.head(0), _plan(parameters)
    )
    fold_of = {"blind": blind.set_index("image_id")["fold"], "here": splits.set_index("image_id")["fold"]}
    found["torn_by_a_blind_split"] = len(torn_images(near_duplicates, fold_of["blind"]))
    if not found["torn_by_a_blind_split"]:
        return found
    ids = [name for name in splits["image_id"] if all(folds[name] != NO_FOLD for folds in fold_of.values())]
    names, truth = np.unique(label.loc[ids], return_inverse=True)
    group_of = splits.set_index("image_id")["group"]
    vectors = features.vectors[features.positions(ids)]
    C = float(np.median(linear_parameters.C))
    estimator = multinomial_logistic("none", linear_parameters.max_iterations)
    for where, folds in fold_of.items():
        scores = out_of_fold_scores(estimator, C, vectors, truth, folds.loc[ids].to_numpy(), len(names))
        right = scores.argmax(axis=1) == truth
        low, high = proportion_interval(right, group_of.loc[ids].to_numpy(dtype=str))
        found |= {f"accuracy_{where}": float(right.mean()), f"accuracy_{where}_interval": [low, high]}
    found["scored_images"] = len(ids)
    _log.info(
        "near-duplicates: a split blind to them would tear %s apart, and claim %.3f instead of %.3f",
        *(counted(found["torn_by_a_blind_split"], "image"), found["accuracy_blind"], found["accuracy_here"]),
    )
    return found


def draw_pairs(images: ImageStore, near_duplicates: pd.DataFrame, parameters: DuplicateParameters) -> Figure:
    """The least similar pairs side by side, in which too wide limits would be visible."""
    shown = near_duplicates.sort_values(["cosine", "image_id"]).head(parameters.sheet_pairs)
    names = [name for row in shown.itertuples() for name in (str(row.image_id), str(row.other))]
    cosines = [f"{row.cosine:.2f}, {row.bits} bits apart" for row in shown.itertuples()]
    captions = [
        f"{shortened(name)}\n{'cosine ' + cosines[place // 2] if place % 2 else ''}" for place, name in enumerate(names)
    ]
    pictures = [thumbnail(images, name, parameters.max_pixels) for name in names]
    return plot_sheet(
        pictures, captions, f"{counted(len(near_duplicates), 'pair')} of near-duplicates, the least alike first"
    )


def _for_duplicates(features: FeatureParameters, parameters: DuplicateParameters) -> FeatureParameters:
    """The run's feature parameters, with the network, image size and crop for finding near-duplicates."""
    fixed = {"backbone": parameters.backbone, "image_size": parameters.image_size, "weights": "default"}
    return features.model_copy(update={**fixed, "layers": "last", "pool": "average", "fit": CROP})


def _compared(images: int, parameters: DuplicateParameters) -> bool:
    """Whether near-duplicates of so many images are looked for."""
    return images <= parameters.at_most or has_index()


def _plan(parameters: SplitParameters) -> SplitPlan:
    return SplitPlan(parameters.test_fraction, parameters.folds, parameters.split_seed)
