"""Labels that are probably wrong, and the user's ledger with the decisions about them."""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd

from topwork.core.errors import InputError
from topwork.data.manifest import SAME_BYTES
from topwork.scoring.predictions import class_numbers, stacked_probabilities

LEAST_SURE = 0.5
"""Labels are only doubted if the accuracy is at least this share of the way from chance to perfect.

Measured with 5 % of the labels flipped (`python -m bench.evidence`): at a share of 0.85 (clothes), 0.40 of the
suggestions were right; at a share of 0.14 (wallpaper groups), 0.07 were right, and six of ten images were suspected.
The value 0.5 is a round number between them."""

KEEP, RELABEL, DROP = "keep", "relabel", "drop"
LEDGER_COLUMNS = ("image_id", "action", "label")
SUGGESTION_COLUMNS = (*LEDGER_COLUMNS, "given", "quality", "path")


def can_doubt(accuracy: float, classes: int) -> bool:
    """Whether a classifier whose most likely class is right this often is good enough to find wrong labels."""
    chance = 1 / classes
    return (accuracy - chance) / (1 - chance) >= LEAST_SURE


def suggest_labels(out_of_fold: pd.DataFrame, ledger: pd.DataFrame) -> pd.DataFrame:
    """Images with labels that are probably wrong (columns ``SUGGESTION_COLUMNS``), the most doubtful first.

    The method is confident learning (Northcutt et al. 2021, by cleanlab) on out-of-fold probabilities. The suggested
    ``label`` is the most likely class: a threshold or costs change what is answered, and not what an image shows.
    ``quality`` is the probability of the given label. ``action`` is empty, to be filled in by the user. Images that are
    already in the user's ``ledger`` are left out.
    """
    from cleanlab.filter import find_label_issues

    undecided = out_of_fold[~out_of_fold["image_id"].isin(ledger["image_id"])]
    if undecided.empty:
        return pd.DataFrame(columns=pd.Index(SUGGESTION_COLUMNS))
    names = out_of_fold.attrs["class_names"]
    given, probabilities = class_numbers(undecided["label"], names), stacked_probabilities(undecided)
    doubtful = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    quality = probabilities[np.arange(len(given)), given]
    rows, label = undecided.iloc[doubtful], np.asarray(names)[probabilities.argmax(axis=1)][doubtful]
    table = {"image_id": rows["image_id"], "action": "", "label": label, "given": rows["label"]}
    found = pd.DataFrame({**table, "quality": quality[doubtful].round(4), "path": rows["path"]})
    return found[found["label"] != found["given"]].reset_index(drop=True)


def contradictions(manifest: pd.DataFrame) -> pd.DataFrame:
    """Files of equal bytes with different labels: rows (columns ``SUGGESTION_COLUMNS``) without a suggested label."""
    torn = manifest[manifest["reason"] == SAME_BYTES].sort_values(["sha256", "image_id"])
    table = {"image_id": torn["image_id"], "action": "", "label": "", "given": torn["label"], "quality": 0.0}
    return pd.DataFrame({**table, "path": torn["path"]}, columns=pd.Index(SUGGESTION_COLUMNS))


def check_ledger(ledger: pd.DataFrame, labels: pd.Series[str]) -> None:
    """Check the ledger for unknown actions, missing or unknown classes, and images that are listed twice.

    Raises:
        InputError: the ledger has such a row; the message names the image and the allowed values.

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
    """The listing with the labels of the ledger in place of the given ones."""
    new = ledger[ledger["action"] == RELABEL].set_index("image_id")["label"].to_dict()
    labels = [new.get(*pair) for pair in zip(listing["image_id"], listing["label"], strict=True)]
    return listing.assign(label=pd.Series(labels, index=listing.index, dtype=listing["label"].dtype))


def dropped(ledger: pd.DataFrame) -> set[str]:
    """Ids of the images that the ledger excludes."""
    return set(ledger.loc[ledger["action"] == DROP, "image_id"])
