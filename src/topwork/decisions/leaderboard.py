"""Strategies side by side on the images that all were scored on without having seen them, and the one to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from topwork.core.arrays import Bools
from topwork.core.columns import TEST
from topwork.core.parameters import STRATEGIES
from topwork.scoring.paired import (
    Difference,
    compare,
    compare_predictions,
    corrected_resampled_t,
    holm,
    shared_predictions,
)

_ROUNDING = 1e-9  # a difference of one image is exactly one standard error
OK_STATUS, APART = "ok", "other split"
"""Status of a row of these splits, and of one that was scored on others."""
_FEWEST_FOLDS = 3  # fewer differences have no spread to speak of
UNCOMPARED = {
    "shared_accuracy": None,
    "shared_images": None,
    "behind": None,
    "behind_low": None,
    "behind_high": None,
    "behind_error": None,
    "p": None,
    "p_adjusted": None,
    "p_folds": None,
}
"""What stands in the row of a strategy that cannot be compared."""

Row = dict[str, Any]


def compare_on_shared(
    tables: Mapping[str, pd.DataFrame], apart: Mapping[str, pd.DataFrame], splits: pd.DataFrame, seed: int
) -> dict[str, Row]:
    """For each table of out-of-fold predictions the columns of `UNCOMPARED`.

    ``behind`` is its accuracy less that of the best, pair by pair on the images that all ``tables`` share, with a
    standard error and an interval; ``p`` is of the test that both are equal. A leaderboard makes several comparisons:
    the intervals hold all together (Bonferroni), and ``p_adjusted`` counts the others too (Holm). ``p_folds`` is that
    of the differences fold by fold, where there are enough.

    Args:
        tables: ``image_id``, ``label``, ``predicted``; by strategy or run, all of these splits.
        apart: the same of other splits. Each is compared with the best of ``tables`` on the images that these two
            share, so that it takes no image from the others.
        splits: with the groups and folds of the images.
        seed: of the signs drawn.

    """
    rows: dict[str, Row] = {name: dict(UNCOMPARED) for name in (*tables, *apart)}
    shared = shared_predictions(list(tables.values())) if tables else pd.DataFrame()
    if shared.empty:
        return rows
    group_of, fold_of = (splits.set_index("image_id")[column] for column in ("group", "fold"))
    right = {name: (shared[f"predicted_{place}"] == shared["label"]).to_numpy() for place, name in enumerate(tables)}
    best = max(right, key=lambda name: (right[name].mean(), -_cost(name)))
    groups, tests = shared["image_id"].map(group_of).to_numpy(dtype=str), max(1, len(rows) - 1)
    folds = splits.loc[splits["split"] != TEST, "fold"].nunique()
    for name, mine in right.items():
        rows[name] |= _told(compare(mine, right[best], groups, seed, tests), float(mine.mean()))
        if name == best:
            rows[name] |= {"p": None}
        else:
            rows[name]["p_folds"] = _p_folds(mine, right[best], shared["image_id"].map(fold_of), folds)
    for name, table in apart.items():
        found = compare_predictions(table, tables[best], group_of, seed, tests)
        if found:
            both = shared_predictions([table, tables[best]])
            rows[name] |= _told(found, float((both["predicted_0"] == both["label"]).mean()))
    tested = [name for name, row in rows.items() if row["p"] is not None]
    for name, p in zip(tested, holm([rows[name]["p"] for name in tested]), strict=True):
        rows[name]["p_adjusted"] = p
    return rows


def _told(found: Difference, accuracy: float) -> Row:
    return {
        "shared_accuracy": accuracy,
        "shared_images": found.images,
        "behind": found.difference,
        "behind_low": found.low,
        "behind_high": found.high,
        "behind_error": found.error,
        "p": found.p,
    }


def rank(rows: Sequence[Row]) -> list[Row]:
    """Best out of fold first; then what is of other splits, by the difference to the best; then what has no score."""

    def place(row: Row) -> tuple[object, ...]:
        is_apart = row.get("status", OK_STATUS) != OK_STATUS
        order = -(row["behind"] or 0) if is_apart else -(row["shared_accuracy"] or 0)
        return row["shared_accuracy"] is None, is_apart, order, _cost(row)

    return sorted(rows, key=place)


def choose_champion(rows: Sequence[Row], errors: float) -> dict[str, Any]:
    """The cheapest strategy (earlier runs are none) that is at most so many standard errors behind the best, and why.

    The rule of one standard error (Breiman et al. 1984), on paired differences: with a few hundred images a test finds
    nothing significant, and would always take the cheapest.
    """
    compared = [
        row
        for row in rows
        if row["behind"] is not None and row["strategy"] in STRATEGIES and row.get("status", OK_STATUS) == OK_STATUS
    ]
    if not compared:
        return {"strategy": None, "reason": "no strategy has a score"}
    best = max(compared, key=lambda row: row["behind"])
    near = [row for row in compared if -row["behind"] <= errors * row["behind_error"] + _ROUNDING]
    chosen = min(near, key=_cost)
    if chosen is best:
        cheaper = [row for row in compared if _cost(row) < _cost(best)]
        equal = [row["strategy"] for row in compared if row["behind"] == 0 and row is not best]
        reason = (
            f"as good out of fold as {' and '.join(equal)}, and cheaper with many images"
            if equal
            else "best out of fold"
        )
        reason += ", by more than the error of the difference to any cheaper one" if cheaper else ""
    else:
        reason = (
            f"{-100 * chosen['behind']:.1f} points behind {best['strategy']} out of fold, within {errors:g} standard "
            f"error of {100 * chosen['behind_error']:.1f}, and cheaper with many images"
        )
    return {"strategy": chosen["strategy"], "reason": reason, "images": chosen["shared_images"]}


def _cost(row: Row | str) -> int:
    """Place among the strategies, which stand in the order of their cost."""
    name = row if isinstance(row, str) else row["strategy"]
    return STRATEGIES.index(name) if name in STRATEGIES else len(STRATEGIES)


def _p_folds(mine: Bools, best: Bools, fold: pd.Series[int], folds: int) -> float | None:
    difference = pd.Series(mine.astype(float) - best.astype(float))
    by_fold = difference.groupby(fold.to_numpy()).mean()
    if len(by_fold) < _FEWEST_FOLDS:
        return None
    return corrected_resampled_t(by_fold.to_list(), 1 / (folds - 1))
