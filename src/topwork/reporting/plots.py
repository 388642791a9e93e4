"""Figures: functions from numbers and pictures to matplotlib figures, without global state."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from topwork.core.arrays import Floats, Integers
from topwork.core.results import Forecast, Leaderboard, Point
from topwork.core.visible import unparsed
from topwork.scoring.metrics import wilson_interval
from topwork.scoring.two_classes import GRID, Curve

_INK, _SOFT, _ACCENT = "#22313f", "#b8c4cc", "#2a7f62"
_LETTERS = 40  # of all class names together that fit side by side below a confusion matrix
_NUMBERED_CLASSES = 25  # up to here each cell of a confusion matrix shows its count
_COLUMNS = 6


def plot_confusion(counts: Integers, class_names: Sequence[str], title: str) -> Figure:
    """Confusion matrix ``[c, c]``: colour is the share of the true class, numbers are counts."""
    classes = len(class_names)
    side = float(np.clip(2.5 + 0.45 * classes, 4.5, 18))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    short = [unparsed(textwrap.shorten(name, 24, placeholder="…")) for name in class_names]
    axes.set_xticks(range(classes), short, rotation=90 if classes * max(map(len, short)) > _LETTERS else 0)
    axes.set_yticks(range(classes), short)
    axes.set(xlabel="predicted", ylabel="true", title=unparsed(title))
    if classes <= _NUMBERED_CLASSES:
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > 0.6 else _INK
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=8)
    figure.colorbar(image, ax=axes, shrink=0.7, label="share of the true class")
    return figure


def plot_sheet(pictures: Sequence[Image.Image], captions: Sequence[str], title: str, columns: int = _COLUMNS) -> Figure:
    """A sheet of pictures with a caption under each; an empty sheet shows the word "none"."""
    rows = max(1, -(-len(pictures) // columns))
    lines = 1 + max((caption.count("\n") for caption in captions), default=0)
    figure = Figure(figsize=(2 * columns, (1.95 + 0.18 * lines) * rows + 0.5), layout="constrained")
    figure.suptitle(unparsed(title))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    for axes, picture, caption in zip(grid, pictures, captions, strict=False):
        axes.imshow(picture)
        axes.set_xlabel(unparsed(caption), fontsize=8)
    if not pictures:
        grid[0].text(0, 0.5, "none", fontsize=12)
    return figure


def heated(pixels: NDArray[np.uint8], heat: Floats) -> Image.Image:
    """The image ``[h, w, 3]`` in grey, with the heat map ``[h, w]`` (0 to 1) over it in colour."""
    colour = colormaps["magma"](heat)[..., :3] * 255
    grey = pixels.mean(axis=2, keepdims=True)
    return Image.fromarray((0.45 * grey + 0.55 * colour).astype(np.uint8))


def plot_training(epochs: Sequence[dict[str, Any]], title: str) -> Figure:
    """Training loss, loss on the inner split and accuracy on the inner split, of each model by epoch."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    figure.suptitle(title)
    of_loss, of_accuracy = figure.subplots(1, 2)
    models = list(dict.fromkeys(row["model"] for row in epochs))
    for number, model in enumerate(models):
        rows, colour = [row for row in epochs if row["model"] == model], f"C{number}"
        taught = [row for row in rows if "loss" in row]
        if taught:
            losses, mark = [row["loss"] for row in taught], "." if len(taught) == 1 else ""
            of_loss.plot([row["epoch"] for row in taught], losses, "--", marker=mark, color=colour, label=model)
        chosen_by = [row for row in rows if "inner_loss" in row]
        if chosen_by:
            numbers = [row["epoch"] for row in chosen_by]
            of_loss.plot(numbers, [row["inner_loss"] for row in chosen_by], color=colour)
            of_accuracy.plot(numbers, [row["inner_accuracy"] for row in chosen_by], color=colour, label=model)
            best = min(chosen_by, key=lambda row: row["inner_loss"])
            of_accuracy.plot(best["epoch"], best["inner_accuracy"], "o", color=colour)
    of_loss.set(xlabel="epoch", ylabel="log-loss (line: inner split, dashed: training)")
    of_accuracy.set(xlabel="epoch", ylabel="accuracy on the inner split (dot: least log-loss)")
    for axes in (of_loss, of_accuracy):
        axes.grid(color=_SOFT, alpha=0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(fontsize=8, frameon=False)
    return figure


def plot_reliability(confidence: Floats, right: NDArray[np.bool_], bins: int = 10) -> Figure:
    """Share of right predictions by confidence, with 95 % intervals; and error among the most confident predictions.

    Args:
        confidence: of each prediction, ``[n]``.
        right: whether each prediction is right, ``[n]``.
        bins: number of bins, which have equally many predictions.

    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    reliability, rejection = figure.subplots(1, 2)
    order = np.argsort(confidence)
    for part in np.array_split(order, min(bins, len(order))):
        share, (low, high) = right[part].mean(), wilson_interval(right[part].sum(), len(part))
        reliability.plot([confidence[part].mean()] * 2, [low, high], color=_SOFT, lw=4, solid_capstyle="butt")
        reliability.plot(confidence[part].mean(), share, "o", color=_ACCENT)
    reliability.plot([0, 1], [0, 1], "--", color=_INK, lw=1)
    reliability.set(xlabel="confidence", ylabel="share right, 95 %", xlim=(0, 1.02), ylim=(0, 1.02))
    wrong = np.cumsum(~right[order[::-1]]) / np.arange(1, len(order) + 1)
    rejection.plot(np.arange(1, len(order) + 1) / len(order), wrong, color=_ACCENT)
    rejection.set(xlabel="share answered, the most confident first", ylabel="error among them", xlim=(0, 1))
    for axes in (reliability, rejection):
        axes.grid(color=_SOFT, alpha=0.5)
    return figure


def plot_two_classes(roc: Curve, precision: Curve, point: tuple[float, float, float], positive: str) -> Figure:
    """ROC curve and precision-recall curve with 95 % bands; ``point`` is false positive rate, recall, precision."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    of_roc, of_precision = figure.subplots(1, 2)
    false_rate, recall, exact = point
    for axes, curve in ((of_roc, roc), (of_precision, precision)):
        axes.fill_between(GRID, curve.low, curve.high, color=_SOFT, alpha=0.6, lw=0)
        axes.plot(GRID, curve.value, color=_ACCENT)
        axes.grid(color=_SOFT, alpha=0.5)
    of_roc.plot([0, 1], [0, 1], "--", color=_INK, lw=1)
    of_roc.plot(false_rate, recall, "o", color=_INK)
    of_precision.plot(recall, exact, "o", color=_INK)
    of_roc.set(xlabel="share of the other class called so", ylabel=unparsed(f"recall of {positive}"), ylim=(0, 1.02))
    of_precision.set(xlabel=unparsed(f"recall of {positive}"), ylabel="precision", ylim=(0, 1.02))
    return figure


def plot_runs(history: pd.DataFrame) -> Figure:
    """Out-of-fold accuracy by run, one line per strategy; full dots mark changes that are larger than noise."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for number, (strategy, rows) in enumerate(history.groupby("strategy", sort=False)):
        colour = f"C{number}"
        axes.plot(rows.index, rows["oof_accuracy"], "-o", color=colour, mfc="white", label=str(strategy))
        more = rows[rows["verdict"].isin(["better", "worse"])]
        axes.plot(more.index, more["oof_accuracy"], "o", color=colour)
    axes.set(xlabel="run", ylabel="accuracy out of fold (full: more than noise)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=_SOFT, alpha=0.5)
    axes.legend(fontsize=8, frameon=False)
    return figure


def plot_forecast(points: Sequence[Point], forecast: Sequence[Forecast]) -> Figure:
    """Accuracy of the probe by number of images, and the forecast with its 95 % interval."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(
        [point.images for point in points],
        [point.right / point.tested for point in points],
        "o-",
        color=_ACCENT,
        label="out of fold",
    )
    sizes = [each.images for each in forecast]
    axes.fill_between(
        sizes, [each.low for each in forecast], [each.high for each in forecast], color=_SOFT, alpha=0.6, lw=0
    )
    axes.plot(sizes, [each.accuracy for each in forecast], "--", color=_INK, label="forecast, 95 % interval")
    axes.set(xscale="log", xlabel="images learnt from", ylabel="accuracy of a linear probe")
    axes.set_xticks(ticks := [point.images for point in points] + sizes[1:], [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.grid(color=_SOFT, alpha=0.5)
    axes.legend(frameon=False, loc="lower right")
    return figure


def plot_leaderboard(leaderboard: Leaderboard) -> Figure:
    """Test accuracy with its 95 % interval, and the out-of-fold accuracy, of each strategy that has them."""
    scored = [row for row in leaderboard.rows if row.accuracy is not None][::-1]
    scores = np.array(
        [[row.accuracy, row.accuracy_low, row.accuracy_high, row.shared_accuracy] for row in scored], float
    ).reshape(-1, 4)
    figure = Figure(figsize=(7, 1.6 + 0.5 * max(1, len(scored))), layout="constrained")
    axes = figure.subplots()
    for height, (accuracy, low, high, shared) in enumerate(scores):
        of_test, of_folds = ("test, 95 % interval", "out of fold, shared images") if height == 0 else (None, None)
        axes.plot([low, high], [height, height], color=_SOFT, lw=6, solid_capstyle="butt")
        axes.plot(accuracy, height, "o", color=_ACCENT, label=of_test)
        axes.plot(shared, height, "|", color=_INK, ms=16, label=of_folds)
    axes.set_yticks(range(len(scored)), [row.name for row in scored])
    axes.set(xlabel="accuracy", ylim=(-0.6, max(1, len(scored)) - 0.4))
    axes.grid(axis="x", color=_SOFT, alpha=0.5)
    if scored:
        figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure
