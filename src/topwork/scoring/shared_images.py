"""Compares tables of out-of-fold predictions on the images that all of them contain."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import pandas as pd

from topwork.scoring.metric import Answers, Metric
from topwork.scoring.paired import Difference

_COLUMNS = ["image_id", "label", "predicted"]
_PROBABILITIES = "probabilities"


def shared_predictions(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Out-of-fold predictions of all tables for the images that all of them contain with the same label.

    Columns ``image_id``, ``label`` and ``predicted_0``, ``predicted_1``, … by table, with ``probabilities_0``, … if a
    table has them; sorted by ``image_id``. The classes are named in ``attrs``.
    """
    parts = [
        table[[*_COLUMNS, *({_PROBABILITIES} & set(table.columns))]].rename(
            columns={name: f"{name}_{place}" for name in ("predicted", _PROBABILITIES)}
        )
        for place, table in enumerate(tables)
    ]
    shared = reduce(lambda left, right: left.merge(right, on=["image_id", "label"]), parts)
    shared = shared.sort_values("image_id", ignore_index=True)
    shared.attrs = {"class_names": _class_names(tables)}
    return shared


def answers_of(shared: pd.DataFrame, place: int) -> Answers:
    """The answers of the table with this place; what is none of the classes has the number -1."""
    number = {name: position for position, name in enumerate(shared.attrs["class_names"])}
    truth, predicted = (
        shared[column].map(number).fillna(-1).to_numpy(dtype=int) for column in ("label", f"predicted_{place}")
    )
    column = f"{_PROBABILITIES}_{place}"
    told = np.stack(shared[column].to_list()) if column in shared and len(shared) else np.empty((len(shared), 0))
    return Answers(truth, predicted, told)


def comparable(tables: Sequence[pd.DataFrame], metric: Metric) -> bool:
    """Whether these tables can be compared by the metric: they share an image and, for probabilities, the classes."""
    if not metric.needs_probabilities:
        return True
    known = [tuple(table.attrs.get("class_names", ())) for table in tables]
    return all(_PROBABILITIES in table for table in tables) and len(set(known)) == 1


def compare_predictions(
    first: pd.DataFrame,
    other: pd.DataFrame,
    group_of: pd.Series[str],
    seed: int,
    tests: int = 1,
    metric: Metric | None = None,
) -> Difference | None:
    """Difference in a score between two tables of out-of-fold predictions; None if they cannot be compared.

    They are compared on the images that both contain with the same label. The splits may differ: no out-of-fold
    prediction comes from a model that has seen the image.

    Args:
        first: columns ``image_id``, ``label``, ``predicted``, and for some metrics ``probabilities``.
        other: the same columns.
        group_of: group of each image id; an image without a group is its own group.
        seed: of the random signs.
        tests: number of comparisons that are shown together.
        metric: the score; None: accuracy.

    """
    metric = metric or Metric()
    both = shared_predictions([first, other])
    if both.empty or not comparable([first, other], metric):
        return None
    named = group_of.to_dict()
    groups = np.array([named.get(image_id, image_id) for image_id in both["image_id"]], dtype=str)
    return metric.compare(answers_of(both, 0), answers_of(both, 1), groups, seed, tests)


def _class_names(tables: Sequence[pd.DataFrame]) -> list[str]:
    """The classes in the order of the first table's probabilities, and then other labels."""
    first = list(tables[0].attrs.get("class_names", ()))
    labels = {label for table in tables for label in table["label"].unique()}
    return [*first, *sorted(labels - set(first))]
