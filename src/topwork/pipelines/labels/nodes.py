"""Suggests labels to check; the user's ledger says what to do about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pandas as pd
from matplotlib.figure import Figure

from topwork.core.digests import split_digest
from topwork.core.parameters import LabelParameters
from topwork.core.results import StrategyResult, scored
from topwork.core.stores import ImageStore
from topwork.core.words import counted
from topwork.decisions.label_errors import SUGGESTION_COLUMNS, can_doubt, contradictions, suggest_labels
from topwork.images.thumbnails import shortened, thumbnail
from topwork.reporting.plots import plot_sheet
from topwork.scoring.predictions import likeliest_accuracy

_log = logging.getLogger(__name__)


def find_label_errors(
    manifest: pd.DataFrame,
    splits: pd.DataFrame,
    label_ledger: pd.DataFrame,
    other_results: tuple[StrategyResult, ...],
    *results: StrategyResult,
) -> pd.DataFrame:
    """Images with doubtful labels: first equal files with different labels, then labels that predictions contradict.

    The predictions are the out-of-fold predictions of one strategy: the one with the most scored images and, among
    equals, the most accurate one.

    Args:
        manifest: manifest of the images.
        splits: splits that the predictions must belong to.
        label_ledger: decisions of the user.
        other_results: results on other features than those that the run chose first.
        results: results of all strategies.

    """
    torn, predicted = contradictions(manifest), _doubted(splits, label_ledger, (*results, *other_results))
    if len(torn):
        _log.info(
            "%s of equal bytes are under different labels: label_suggestions.csv, .png", counted(len(torn), "file")
        )
    return predicted if torn.empty else torn if predicted.empty else pd.concat([torn, predicted], ignore_index=True)


def draw_label_errors(images: ImageStore, label_suggestions: pd.DataFrame, parameters: LabelParameters) -> Figure:
    """A contact sheet of the images with the most doubtful labels."""
    shown = label_suggestions.head(parameters.sheet_images)
    pictures = [thumbnail(images, str(name), parameters.max_pixels) for name in shown["image_id"]]
    captions = [f"{row.given}?\n{_rather(row.label)}\n{shortened(str(row.path))}" for row in shown.itertuples()]
    return plot_sheet(
        pictures, captions, f"{counted(len(label_suggestions), 'label')} that the model contradicts, the surest first"
    )


def _doubted(splits: pd.DataFrame, label_ledger: pd.DataFrame, results: Sequence[StrategyResult]) -> pd.DataFrame:
    nothing = pd.DataFrame(columns=pd.Index(SUGGESTION_COLUMNS))
    usable = [
        (len(each.out_of_fold), likeliest_accuracy(each.out_of_fold), each)
        for each in scored(results, split_digest(splits))
        if len(each.out_of_fold)
    ]
    if not usable:
        return nothing
    _, accuracy, result = max(usable, key=lambda each: each[:2])
    table = result.out_of_fold
    if not can_doubt(accuracy, len(table.attrs["class_names"])):
        _log.info("No labels are doubted: predictions that are right on %.0f %% cannot tell.", 100 * accuracy)
        return nothing
    suggestions = suggest_labels(table, label_ledger)
    if len(suggestions):
        _log.info(
            "predictions contradict %s of %s labels, some of which will be right all the same: "
            "label_suggestions.csv, .png, the surest first",
            *(f"{len(suggestions):,}", f"{len(table):,}"),
        )
    return suggestions


def _rather(label: object) -> str:
    return f"rather {label}" if label else "same bytes as another"
