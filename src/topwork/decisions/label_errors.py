"""Labels that are probably wrong, and the user's ledger of what to do about them."""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd

from topwork.core.errors import InputError
from topwork.data.manifest import SAME_BYTES
from topwork.scoring.predictions import class_numbers, stacked_probabilities

LEAST_SURE = 0.5
"""Accuracy, as a share of the way from chance to perfect, from which predictions may doubt labels. With 5 % of
the labels flipped, 0.40 of the suggestions were right at 0.85 (clothes), and 0.07, six in ten images suspected, at 0.14
(wallpaper groups): `python -m bench.evidence`. Half-way is a round number between them."""

KEEP, RELABEL, DROP = "keep", "relabel", "drop"
LEDGER_COLUMNS = ("image_id", "action", "label")
SUGGESTION_COLUMNS = (*LEDGER_COLUMNS, "given", "quality", "path")


def can_doubt(accuracy: float, classes: int) -> bool:
    """Whether a classifier of this accuracy is right often enough to call a label wrong."""
    chance = 1 / classes
    return (accuracy - chance) / (1 - chance) >= LEAST_SURE


def suggest_labels(out_of_fold: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Images whose label the predictions doubt (columns ``SUGGESTION_COLUMNS``), the most doubtful first.

    Confident learning (Northcutt et al. 2021, by cleanlab) on probabilities that no model gave to an image that it had
    learnt from. ``quality`` is the probability of the label given; the ``action`` is left to the user, whose ``ledger``
    has settled the images that stand in it.
    """
    from cleanlab.filter import find_label_issues

    undecided = out_of_fold[~out_of_fold["image_id"].isin(ledger["image_id"])]
    if undecided.empty:
        return pd.DataFrame(columns=pd.Index(SUGGESTION_COLUMNS))
    names = out_of_fold.attrs["class_names"]
    given, probabilities = class_numbers(undecided["label"], names), stacked_probabilities(undecided)
    doubtful = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    quality = probabilities[np.arange(len(given)), given]
    rows = undecided.iloc[doubtful]
    table = {"image_id": rows["image_id"], "action": "", "label": rows["predicted"], "given": rows["label"]}
    found = pd.DataFrame({**table, "quality": quality[doubtful].round(4), "path": rows["path"]})
    return found[found["label"] != found["given"]].reset_index(drop=True)


def contradictions(manifest: pd.DataFrame) -> pd.DataFrame:
    """Files of equal bytes under different labels: suggestions (columns ``SUGGESTION_COLUMNS``) without a proposal."""
    torn = manifest[manifest["reason"] == SAME_BYTES].sort_values(["sha256", "image_id"])
    table = {"image_id": torn["image_id"], "action": "", "label": "", "given": torn["label"], "quality": 0.0}
    return pd.DataFrame({**table, "path": torn["path"]}, columns=pd.Index(SUGGESTION_COLUMNS))


def check_ledger(ledger: pd.DataFrame, labels: pd.Series[str]) -> None:
    """Refuse a ledger that cannot be meant: an unknown action, a class that is none, an image twice.

    Raises:
        InputError: the message names the row and the way out.

    """
    known = sorted(set(labels))
    twice = ledger.loc[ledger["image_id"].duplicated(), "image_id"]
    if len(twice):
        raise InputError(f"label ledger: {twice.iloc[0]} stands in it twice.")
    for row in ledger.itertuples():
        if row.action not in {KEEP, RELABEL, DROP}:
            raise InputError(f"label ledger, {row.image_id}: action {row.action!r} is not {KEEP}, {RELABEL} or {DROP}.")
        if row.action == RELABEL and not row.label:
            raise InputError(f"label ledger, {row.image_id}: {RELABEL} needs a label.")
        if row.action == RELABEL and row.label not in known:
            near = difflib.get_close_matches(str(row.label), known, n=1) or known[:5]
            raise InputError(f"label ledger, {row.image_id}: no class {row.label!r}; perhaps {', '.join(near)}?")


def relabelled(listing: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """The listing with the labels that the ledger gives."""
    new = ledger[ledger["action"] == RELABEL].set_index("image_id")["label"].to_dict()
    labels = [new.get(*pair) for pair in zip(listing["image_id"], listing["label"], strict=True)]
    return listing.assign(label=pd.Series(labels, index=listing.index, dtype=listing["label"].dtype))


def dropped(ledger: pd.DataFrame) -> set[str]:
    """Ids of the images that are to be left out."""
    return set(ledger.loc[ledger["action"] == DROP, "image_id"])
