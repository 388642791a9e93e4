"""The predictions table: one row per image, probabilities in the order of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Decision, LeastCost, called
from topwork.core.columns import PREDICTION_COLUMNS


def prediction_table(
    images: pd.DataFrame,
    manifest: pd.DataFrame,
    probabilities: Floats,
    class_names: Sequence[str],
    decision: Decision | LeastCost | None = None,
) -> pd.DataFrame:
    """Predictions (columns ``PREDICTION_COLUMNS``) of ``images`` (``image_id``, ``label``), row by row.

    The table's ``attrs`` name the classes in the order of the ``probabilities`` ``[n, c]``.
    """
    path_of = manifest.set_index("image_id")["path"]
    answers = called(probabilities, class_names, decision)
    table = pd.DataFrame(
        {
            "image_id": images["image_id"].to_numpy(),
            "path": images["image_id"].map(path_of).to_numpy(),
            "label": images["label"].to_numpy(),
            "predicted": np.asarray(class_names)[answers],
            "confidence": probabilities[np.arange(len(answers)), answers],
            "probabilities": list(probabilities),
        },
        columns=pd.Index(PREDICTION_COLUMNS),
    )
    table.attrs = {"class_names": list(class_names)}
    return table


def with_decision(predictions: pd.DataFrame, decision: Decision | LeastCost) -> pd.DataFrame:
    """The predictions, with the classes that are answered by this decision."""
    names, probabilities = predictions.attrs["class_names"], stacked_probabilities(predictions)
    answers = called(probabilities, names, decision)
    changed = predictions.assign(
        predicted=np.asarray(names)[answers], confidence=probabilities[np.arange(len(answers)), answers]
    )
    changed.attrs = predictions.attrs
    return changed


def stacked_probabilities(predictions: pd.DataFrame) -> Floats:
    """Probabilities ``[n, c]`` of a predictions table."""
    if predictions.empty:
        return np.empty((0, len(predictions.attrs.get("class_names", ()))))
    return np.stack(predictions["probabilities"].to_list())


def likeliest(predictions: pd.DataFrame) -> NDArray[np.str_]:
    """The most likely class of each row ``[n]``, whatever a threshold or costs make of it as the answer."""
    names = np.asarray(predictions.attrs["class_names"])
    return np.asarray(names[stacked_probabilities(predictions).argmax(axis=1)])


def likeliest_accuracy(predictions: pd.DataFrame) -> float:
    """Share of the rows whose most likely class is the label; 0 without rows."""
    return float((likeliest(predictions) == predictions["label"]).mean()) if len(predictions) else 0.0


def class_numbers(labels: pd.Series[str], class_names: Sequence[str]) -> Integers:
    """Position of each label in ``class_names``, ``[n]``.

    Raises:
        ValueError: a label is not a class.

    """
    position = {name: number for number, name in enumerate(class_names)}
    strangers = sorted(set(labels) - set(position))
    if strangers:
        raise ValueError(f"no such class: {strangers[0]!r}")
    return labels.map(position).to_numpy(dtype=int)


def most_confident_mistakes(predictions: pd.DataFrame, at_most: int) -> pd.DataFrame:
    """At most ``at_most`` rows with a wrong prediction, the most confident first."""
    wrong = predictions[predictions["predicted"] != predictions["label"]]
    return wrong.sort_values(["confidence", "image_id"], ascending=[False, True]).head(at_most)
