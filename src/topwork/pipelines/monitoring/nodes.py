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
from topwork.core.classifier import AnyClassifier, Classifier, the_only
from topwork.core.columns import OK, TEST
from topwork.core.errors import InputError
from topwork.core.features import FeatureShard
from topwork.core.parameters import DuplicateParameters, MonitoringParameters
from topwork.core.results import Drift, StrategyResult
from topwork.core.stores import FeatureStore, ImageStore
from topwork.core.words import counted
from topwork.data.learnt import check_learnt
from topwork.data.near_duplicates import near_copy_groups
from topwork.decisions.drift import Reference, Sample, judge_drift
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.plots import plot_sheet
from topwork.scoring.metrics import softmax
from topwork.scoring.predictions import class_numbers

_log = logging.getLogger(__name__)
_FEWEST = 10  # images: fewer show shifts alone that anybody sees
_LEARNT, _HELD_OUT = "the images to learn from", "the test images"


def describe_reference(
    images: ImageStore,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    asked_classifier: AnyClassifier,
    known_features: FeatureStore,
) -> Iterator[FeatureShard]:
    """Shards with the features of the reference that the store does not have.

    Raises:
        InputError: the classifier was trained on other images or another split (`check_learnt`).

    """
    from topwork.inference.description import describe_missing

    classifier = the_only(asked_classifier, "monitoring")
    check_learnt(classifier, manifest, splits)
    wanted = splits[_reference(splits, classifier) | (splits["split"] == TEST)]
    table = wanted.assign(sha256=_contents(wanted, manifest)).drop_duplicates("sha256")
    contents = dict(zip(table["sha256"], table["image_id"], strict=True))
    yield from describe_missing(images, contents, known_features, classifier)


def measure_drift(
    new_images: ImageStore,
    new_manifest: pd.DataFrame,
    new_shards: FeatureStore,
    reference_shards: FeatureStore,
    asked_classifier: AnyClassifier,
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    other_results: tuple[StrategyResult, ...],
    parameters: MonitoringParameters,
    duplicates: DuplicateParameters,
    *results: StrategyResult,
) -> tuple[Drift, pd.DataFrame]:
    """Whether the new images come from the distribution that was learnt; and the most foreign ones.

    Files with the bytes of a labelled image are left out, and of equal files one is compared.

    Raises:
        InputError: there are too few new images, or this data folder has no predictions of the classifier.

    """
    from topwork.inference.description import served_key

    classifier = the_only(asked_classifier, "monitoring")
    key = served_key(classifier)
    result = _result_of(classifier, (*results, *other_results))
    table = _compared(new_images, new_manifest)
    vectors = new_shards.get(key, table["sha256"].tolist())
    new = Sample(vectors, _new_groups(new_images, table, vectors, parameters, duplicates))
    content = manifest.set_index("image_id")["sha256"]
    learnt, held_out = (
        Sample(reference_shards.get(key, rows["image_id"].map(content).tolist()), rows["group"].to_numpy(dtype=str))
        for rows in (splits[_reference(splits, classifier)], splits[splits["split"] == TEST])
    )
    group_of = splits.set_index("image_id")["group"]
    called = class_numbers(result.out_of_fold["predicted"], classifier.class_names)
    before = Sample(called, result.out_of_fold["image_id"].map(group_of).to_numpy(dtype=str))
    drift = judge_drift(new, Reference(learnt, before, held_out), classifier, parameters)
    _log.debug("%s", drift.conclusion)  # told at the end of the run
    which = _LEARNT if classifier.frozen else _HELD_OUT
    return drift.model_copy(update={"reference": which, **result.logged_model}), _most_foreign(table, new, classifier)


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


def _result_of(classifier: Classifier, results: tuple[StrategyResult, ...]) -> StrategyResult:
    """The result of this classifier, whose out-of-fold predictions say how often each class is expected."""

    def features(of: Classifier | StrategyResult) -> tuple[object, ...]:
        return of.strategy, of.backbone, of.layers, of.image_size

    mine = [each for each in results if features(each) == features(classifier) and len(each.out_of_fold)]
    if not mine:
        raise InputError(
            f"This data folder has no out-of-fold predictions of {classifier.strategy}, which say how often each class "
            "is expected: leave out `model`, or give the `data=DIR` of the run that trained it."
        )
    return mine[0]


def _reference(splits: pd.DataFrame, classifier: Classifier) -> pd.Series[bool]:
    """The images whose features are compared: those that the network has not been trained on.

    A frozen network has not been trained on any. Its reference is what the head learnt from, since a test split that
    the user brought may itself be another distribution.
    """
    return splits["split"] != TEST if classifier.frozen else splits["split"] == TEST


def _new_groups(
    images: ImageStore,
    table: pd.DataFrame,
    vectors: Floats,
    parameters: MonitoringParameters,
    duplicates: DuplicateParameters,
) -> NDArray[np.str_]:
    """The group of near-copies of each new image; of very many images each is a group of its own."""
    if len(table) > duplicates.at_most:
        return np.arange(len(table)).astype(str)
    limits = duplicates.least_cosine, duplicates.most_bits, parameters.max_pixels
    return near_copy_groups(images, table, vectors, *limits).astype(str)


def _most_foreign(table: pd.DataFrame, new: Sample, classifier: Classifier) -> pd.DataFrame:
    """The new images, the farthest from what was learnt first, or if that is not known, the least sure first."""
    scores = classifier.head.scores(new.values)
    names, sure = np.asarray(classifier.class_names, object), softmax(scores, classifier.temperature).max(axis=1)
    distance = classifier.rejection.distances(new.values) if classifier.rejection else 1 - sure
    told = table[["image_id", "path"]].assign(predicted=names[scores.argmax(axis=1)], distance=distance)
    return told.sort_values("distance", ascending=False, kind="stable", ignore_index=True)


def _contents(rows: pd.DataFrame, manifest: pd.DataFrame) -> pd.Series[str]:
    return rows["image_id"].map(manifest.set_index("image_id")["sha256"])
