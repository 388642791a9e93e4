"""Which images without labels would teach a classifier most (docs/decisions/0029-label-next.md)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans

from topwork.core.arrays import Bools, Floats, Integers
from topwork.core.columns import OK, TEST, TRAIN

REQUEST_COLUMNS = ("path", "label", "suggested", "confidence", "reason")
TABLE_COLUMNS = ("path", "label", "group", "split")
_SMALLEST = 1e-6  # weight of a certain image, so that k-means never sees weights of zero alone


def margins(probabilities: Floats) -> Floats:
    """Probability of the most likely class minus that of the second one, ``[n]``, from ``[n, c]``; small is unsure."""
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def most_unsure(probabilities: Floats, count: int) -> Integers:
    """Row numbers of the ``count`` images with the smallest margin, the smallest first."""
    return np.argsort(margins(probabilities), kind="stable")[:count]


def choose_to_label(
    vectors: Floats, probabilities: Floats, groups: Integers, budget: int, candidates: int, seed: int
) -> Integers:
    """Row numbers of at most ``budget`` images to label, the most uncertain first.

    The most uncertain images (smallest margin) are clustered by k-means with their uncertainty as weight, and of each
    of the ``budget`` clusters the image nearest to its centre is chosen (Zhdanov 2019). Of a group one image at most is
    chosen.

    Args:
        vectors: features ``[n, d]``.
        probabilities: calibrated, ``[n, c]``.
        groups: number of the group of near-copies of each image, ``[n]``.
        budget: number of images to choose.
        candidates: how many uncertain images are looked at for each image to choose.
        seed: of k-means.

    """
    margin = margins(probabilities)
    order = np.argsort(margin, kind="stable")
    _, first = np.unique(groups[order], return_index=True)
    unsure = order[np.sort(first)][: budget * candidates]
    if len(unsure) <= budget:
        return np.asarray(unsure)
    weights = np.maximum(1 - margin[unsure], _SMALLEST)
    chosen = unsure[_one_a_cluster(directions(vectors[unsure]), weights, budget, seed)]
    return np.asarray(chosen[np.argsort(margin[chosen], kind="stable")])


def list_requests(images: pd.DataFrame, probabilities: Floats, far: Bools, class_names: Sequence[str]) -> pd.DataFrame:
    """Images to label (columns ``image_id`` and ``REQUEST_COLUMNS``); ``label`` is empty, for the user to fill in.

    Args:
        images: columns ``image_id``, ``path``.
        probabilities: of these images, ``[n, c]``.
        far: whether each image lies farther from what was learnt than nearly all images of the classes, ``[n]``.
        class_names: names of the classes ``[c]``.

    """
    names, two = np.asarray(class_names, object), np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    best = probabilities[np.arange(len(two)), two[:, 0]]
    doubts = np.where(far, "; perhaps none of the classes", "")
    unsure = [
        f"{names[first]} {row[first]:.2f}, {names[second]} {row[second]:.2f}{doubt}"
        for row, (first, second), doubt in zip(probabilities, two, doubts, strict=True)
    ]
    table = {"image_id": images["image_id"], "path": images["path"], "label": "", "suggested": names[two[:, 0]]}
    return pd.DataFrame({**table, "confidence": best.round(4), "reason": unsure}).reset_index(drop=True)


def still_to_learn(requests: pd.DataFrame, manifest: pd.DataFrame, new_manifest: pd.DataFrame) -> pd.DataFrame:
    """The rows of earlier requests that the user has labelled and no run has learnt from, with the user's columns."""
    learnt = {*manifest["path"], *new_manifest.loc[new_manifest["known"], "path"]}
    left = requests[(requests["label"] != "") & ~requests["path"].isin(learnt)]
    return left.reindex(columns=[*REQUEST_COLUMNS, *_own_columns(left)], fill_value="").reset_index(drop=True)


def join_labels(
    manifest: pd.DataFrame, attributes: pd.DataFrame, splits: pd.DataFrame, requests: pd.DataFrame
) -> pd.DataFrame:
    """A table of the labelled images: of the manifest, and the labelled rows of requests.

    It has the columns ``TABLE_COLUMNS`` and those of the user's own, of the first table of images (``attributes``) or
    of the requests; cells that nobody has filled in are empty. Test images stay test images. Images that were chosen
    for their uncertainty are harder than others, so they are for training: among the test images they would make the
    score another one.
    """
    usable = manifest[manifest["status"] == OK]
    held_out = usable["image_id"].isin(splits.loc[splits["split"] == TEST, "image_id"])
    before = usable[["image_id", "path", "label", "group"]].assign(split=np.where(held_out, TEST, TRAIN))
    before = before.merge(attributes, on="image_id", how="left").drop(columns="image_id")
    new = requests.loc[requests["label"] != "", ["path", "label", *_own_columns(requests)]].assign(split=TRAIN)
    joined = pd.concat([before, new], ignore_index=True).fillna("")
    return joined[[*TABLE_COLUMNS, *(name for name in joined.columns if name not in TABLE_COLUMNS)]]


def _own_columns(requests: pd.DataFrame) -> list[str]:
    """The columns that the user has added to the table of requests; those without a name are none."""
    names = [str(name) for name in requests.columns if name not in {*REQUEST_COLUMNS, "split"}]
    return [name for name in names if name and not name.startswith("unnamed: ")]


def directions(vectors: Floats) -> Floats:
    """The vectors ``[n, d]`` minus their mean, at length 1, as near-duplicates are compared."""
    centred = vectors - vectors.mean(axis=0, dtype=np.float64)
    return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def _one_a_cluster(points: Floats, weights: Floats, clusters: int, seed: int) -> Integers:
    """Row numbers of the points nearest to the centres of weighted k-means, and of others if centres coincide."""
    different = len(np.unique(points, axis=0))
    means = KMeans(min(clusters, different), n_init=1, random_state=seed).fit(points, sample_weight=weights)
    distance = np.linalg.norm(points - means.cluster_centers_[means.labels_], axis=1)
    order = np.lexsort((distance, means.labels_))
    _, first = np.unique(means.labels_[order], return_index=True)
    nearest = order[first]
    others = np.setdiff1d(np.arange(len(points)), nearest)  # in the order of their uncertainty
    return np.concatenate([nearest, others[: clusters - len(nearest)]])
