"""Compares new images with those that the champion learnt from or was tested on.

The network is imported inside the functions, because Kedro imports this module for every run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.core.classifier import Classifier
from topwork.core.columns import OK, TEST
from topwork.core.digests import split_digest
from topwork.core.errors import InputError
from topwork.core.features import FeatureShard
from topwork.core.parameters import DuplicateParameters, MonitoringParameters
from topwork.core.results import Champion, Drift, StrategyResult
from topwork.core.stores import FeatureStore, ImageStore
from topwork.core.words import counted
from topwork.data.near_duplicates import near_copy_groups
from topwork.decisions.drift import (
    Sample,
    compare_classes,
    compare_far,
    compare_features,
    conclude,
    describe_classes,
    most_foreign,
)
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.plots import plot_sheet
from topwork.scoring.predictions import class_numbers

_log = logging.getLogger(__name__)
_FEWEST = 10  # images: fewer show shifts alone that anybody sees
_LEARNT, _HELD_OUT = "the images to learn from", "the test images"


def describe_reference(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    asked_classifier: Classifier,
    known_features: FeatureStore,
) -> Iterator[FeatureShard]:
    """Shards with the features of the reference that the store does not have.

    Raises:
        InputError: the classifier was trained on another split, so that it may have learnt from the reference.

    """
    from topwork.inference.description import describe_missing

    if asked_classifier.split_digest != split_digest(splits):
        raise InputError(
            f"{asked_classifier.strategy} was trained on another split than this data folder has: give the `data=DIR` "
            "of the run that trained it."
        )
    wanted = splits[_reference(splits, asked_classifier) | (splits["split"] == TEST)]
    table = wanted.assign(sha256=_contents(wanted, manifest)).drop_duplicates("sha256")
    contents = dict(zip(table["sha256"], table["image_id"], strict=True))
    yield from describe_missing(images, contents, known_features, asked_classifier)


def measure_drift(
    new_images: ImageStore,
    new_manifest: pd.DataFrame,
    new_shards: FeatureStore,
    reference_shards: FeatureStore,
    asked_classifier: Classifier,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    champion: Champion,
    other_results: tuple[StrategyResult, ...],
    parameters: MonitoringParameters,
    duplicates: DuplicateParameters,
    *results: StrategyResult,
) -> tuple[Drift, pd.DataFrame]:
    """Whether the new images come from the distribution that was learnt; and the most foreign ones.

    Files with the bytes of a labelled image are left out, and of equal files one is compared.

    Raises:
        InputError: there are too few new images, or the classifier is not the champion of this data folder.

    """
    from topwork.inference.description import served_key

    classifier, key = asked_classifier, served_key(asked_classifier)
    table = _compared(new_images, new_manifest)
    result = _result_of(champion, classifier, (*results, *other_results))
    vectors = new_shards.get(key, table["sha256"].tolist())
    limits = duplicates.least_cosine, duplicates.most_bits, parameters.max_pixels
    if len(table) <= duplicates.at_most:
        groups = near_copy_groups(new_images, table, vectors, *limits).astype(str)
    else:
        groups = np.arange(len(table)).astype(str)
    learnt, held_out = (
        _sample(rows, manifest, reference_shards.get(key, _contents(rows, manifest).tolist()))
        for rows in (splits[_reference(splits, classifier)], splits[splits["split"] == TEST])
    )
    p_features, detectable = compare_features(Sample(vectors, groups), learnt, parameters)
    before, called = result.out_of_fold, classifier.head.scores(vectors).argmax(axis=1)
    then = Sample(class_numbers(before["predicted"], classifier.class_names), _groups(before["image_id"], splits))
    p_classes, shifts = compare_classes(Sample(called, groups), then, classifier.class_names, parameters)
    p_values = {"features": p_features, "classes": p_classes}
    said = {"features": "in their features", "classes": describe_classes(shifts, parameters.significance)}
    none = expected = p_none = None
    distances = _distances(classifier, vectors, learnt.values)
    if classifier.rejection:
        bound = classifier.rejection.threshold
        far_then = Sample(classifier.rejection.distances(held_out.values) > bound, held_out.groups)
        p_none, none, expected = compare_far(Sample(distances > bound, groups), far_then, parameters)
        p_values["none"] = p_none
        said["none"] = f"{none.share:.0%} are of none of the classes instead of {expected.share:.0%}".replace("%", " %")
    shifted, p, conclusion = conclude(p_values, said, detectable, parameters.significance)
    _log.info(conclusion)
    drift = Drift(
        conclusion=conclusion,
        shifted=shifted,
        p=p,
        images=len(table),
        compared=min(len(table), parameters.at_most),
        reference=_LEARNT if classifier.frozen else _HELD_OUT,
        reference_images=min(len(learnt.values), parameters.at_most),
        p_features=p_features,
        detectable=detectable,
        p_classes=p_classes,
        classes=shifts,
        p_none_of_these=p_none,
        none_of_these=none,
        none_expected=expected,
        strategy=classifier.strategy,
        **result.logged_model,
    )
    names = np.asarray(classifier.class_names, object)
    told = table[["image_id", "path"]].assign(predicted=names[called], distance=distances)
    return drift, told.iloc[most_foreign(distances, len(told))].reset_index(drop=True)


def draw_foreign(new_images: ImageStore, foreign_images: pd.DataFrame, parameters: MonitoringParameters) -> Figure:
    """A contact sheet of the images that lie farthest from what was learnt."""
    shown = foreign_images.head(parameters.sheet_images)
    pictures = [thumbnail(new_images, str(name), parameters.max_pixels) for name in shown["image_id"]]
    captions = [
        f"distance {row.distance:.1f}\ncalled {row.predicted}\n{shortened(str(row.image_id))}"
        for row in shown.itertuples()
    ]
    return plot_sheet(pictures, captions, f"The most foreign of {counted(len(foreign_images), 'new image')}")


def _compared(new_images: ImageStore, new_manifest: pd.DataFrame) -> pd.DataFrame:
    """The distinct usable images that are not among the labelled ones."""
    usable = new_manifest[(new_manifest["status"] == OK) & ~new_manifest["known"]].drop_duplicates("sha256")
    _log.info(
        "%s: %d are labelled already, %d are no usable images, %d different new ones are compared",
        *(counted(len(new_manifest), "file"), int(new_manifest["known"].sum())),
        *(int((new_manifest["status"] != OK).sum()), len(usable)),
    )
    if len(usable) < _FEWEST:
        raise InputError(
            f"new_images={new_images.source}: {counted(len(usable), 'different image')} that are not among the "
            f"labelled ones; at least {_FEWEST} are needed to tell a shift."
        )
    return usable.reset_index(drop=True)


def _result_of(champion: Champion, classifier: Classifier, results: tuple[StrategyResult, ...]) -> StrategyResult:
    """The result of the champion, whose out-of-fold predictions say how often each class is expected."""
    crowned = (champion.strategy, champion.slot)
    result = next((each for each in results if (each.strategy, each.slot) == crowned), None)
    if result is None or result.strategy != classifier.strategy or result.out_of_fold.empty:
        raise InputError(
            f"{classifier.strategy} is not the champion of this data folder ({champion.strategy}): leave out `model`, "
            "or give the `data=DIR` of the run that trained it."
        )
    return result


def _reference(splits: pd.DataFrame, classifier: Classifier) -> pd.Series[bool]:
    """The images whose features are compared: those that the network has not been trained on.

    A frozen network has not been trained on any. Its reference is what the head learnt from, since a test split that
    the user brought may itself be another distribution.
    """
    return splits["split"] != TEST if classifier.frozen else splits["split"] == TEST


def _sample(rows: pd.DataFrame, manifest: pd.DataFrame, vectors: Floats) -> Sample:
    return Sample(vectors, rows["group"].to_numpy(dtype=str))


def _groups(image_ids: pd.Series[str], splits: pd.DataFrame) -> NDArray[np.str_]:
    return image_ids.map(splits.set_index("image_id")["group"]).to_numpy(dtype=str)


def _contents(rows: pd.DataFrame, manifest: pd.DataFrame) -> pd.Series[str]:
    return rows["image_id"].map(manifest.set_index("image_id")["sha256"])


def _distances(classifier: Classifier, vectors: Floats, reference: Floats) -> Floats:
    """Distances ``[n]`` from what was learnt; without a bound for none of the classes, from the mean."""
    if classifier.rejection:
        return classifier.rejection.distances(vectors)
    return np.asarray(np.linalg.norm(vectors - reference.mean(axis=0), axis=1))
