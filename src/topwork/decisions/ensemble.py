"""Chooses the members of an ensemble, and predicts out of fold what it will be worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupKFold

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError
from topwork.core.results import Member, StrategyResult, scored
from topwork.scoring.predictions import class_numbers, stacked_probabilities
from topwork.scoring.shared_images import shared_predictions

_PARTS = 5  # of the images: the weights for each are chosen on the others
_SMALLEST = 1e-7  # probability, so that its logarithm is finite


def candidates(
    results: Sequence[StrategyResult], split_digest: str, strategy: str = "ensemble"
) -> list[StrategyResult]:
    """The results that can be members: of other strategies, with out-of-fold predictions on this split.

    Results of earlier runs are members only if this run has fewer than two: they were not asked for, and a network of
    which few images were scored out of fold would leave few images to compare all of them on.

    Raises:
        InputError: there are fewer than two.

    """
    found = [each for each in scored(results, split_digest) if each.strategy != strategy and len(each.out_of_fold)]
    of_this_run = [each for each in found if not each.earlier]
    if len(of_this_run) >= 2:
        return of_this_run
    if len(found) < 2:
        have = f"only {found[0].strategy} has" if found else "no strategy has"
        raise InputError(
            f"An ensemble is made of at least two other strategies, and {have} scores on these splits: "
            f"`strategies=all+{strategy}`, or name them, such as `strategies=logistic+finetune+{strategy}`."
        )
    return found


def combine_out_of_fold(
    results: Sequence[StrategyResult], splits: pd.DataFrame, picks: int
) -> tuple[list[Member], pd.DataFrame, Floats]:
    """The members with their weights, and the ensemble's out-of-fold predictions.

    The weights are chosen on all images that the results share. The predictions for each fifth of these images use
    weights that were chosen on the other four, so that the score is that of an ensemble which has not seen them.

    Args:
        results: results with out-of-fold predictions.
        splits: table with the groups of the images.
        picks: how often a result is picked.

    Returns:
        The members, the largest weight first; a table with ``image_id`` and ``label`` of the shared images; and their
        probabilities ``[n, c]``.

    Raises:
        InputError: the results share too few images.

    """
    shared = shared_predictions([each.out_of_fold for each in results])
    names = results[0].out_of_fold.attrs["class_names"]
    if any(each.out_of_fold.attrs["class_names"] != names for each in results):
        raise InputError("An ensemble is made of strategies that know the same classes: train them all again.")
    groups = shared["image_id"].map(splits.set_index("image_id")["group"]).to_numpy(dtype=str)
    parts = min(_PARTS, len(np.unique(groups)))
    if parts < 2:
        raise InputError("The strategies have too few out-of-fold images in common to choose an ensemble by.")
    told = np.stack([np.stack(shared[f"probabilities_{place}"].to_list()) for place in range(len(results))])
    truth = class_numbers(shared["label"], names)
    of_truth = told[:, np.arange(len(truth)), truth]
    found = np.empty(told.shape[1:])
    for chosen_on, applied_to in GroupKFold(parts).split(truth, groups=groups):
        found[applied_to] = mean_probabilities(told[:, applied_to], pick_weights(of_truth[:, chosen_on], picks))
    weights = pick_weights(of_truth, picks)
    order = [int(place) for place in np.argsort(-weights, kind="stable") if weights[place] > 0]
    members = [
        Member(strategy=results[place].strategy, slot=results[place].slot, weight=float(weights[place]))
        for place in order
    ]
    return members, shared[["image_id", "label"]], found


def pick_weights(of_truth: Floats, picks: int) -> Floats:
    """Weights ``[m]`` of m predictors, which sum to 1; some are 0.

    Again and again the predictor is picked that improves the log-loss of the mean most, the same one several times if
    that is best; the weights are the shares of the picks up to the lowest log-loss (Caruana et al. 2004).

    Args:
        of_truth: probability ``[m, n]`` that each predictor gave to the true class of each image.
        picks: number of picks.

    """
    counts, best_counts, lowest = np.zeros(len(of_truth)), np.zeros(len(of_truth)), np.inf
    total = np.zeros(of_truth.shape[1])
    for number in range(1, picks + 1):
        losses = -np.log(np.maximum((total + of_truth) / number, _SMALLEST)).mean(axis=1)
        picked = int(losses.argmin())
        counts[picked] += 1
        total += of_truth[picked]
        if losses[picked] < lowest:
            best_counts, lowest = counts.copy(), losses[picked]
    return np.asarray(best_counts / best_counts.sum())


def mean_probabilities(probabilities: Floats, weights: Floats) -> Floats:
    """Weighted mean ``[n, c]`` of probabilities ``[m, n, c]``."""
    return np.asarray(np.tensordot(weights, probabilities, axes=1))


def average_predictions(members: Sequence[Member], tables: Sequence[pd.DataFrame], image_ids: Sequence[str]) -> Floats:
    """Mean probabilities ``[n, c]`` of the members' predictions for these images.

    Raises:
        InputError: a member has no prediction for an image.

    """
    found = []
    for member, table in zip(members, tables, strict=True):
        rows: Integers = pd.Index(table["image_id"]).get_indexer(pd.Index(image_ids))
        if (rows < 0).any():
            raise InputError(f"{member.strategy} has no prediction for {image_ids[int(rows.argmin())]}: run it again.")
        found.append(stacked_probabilities(table)[rows])
    return mean_probabilities(np.stack(found), np.array([member.weight for member in members]))
