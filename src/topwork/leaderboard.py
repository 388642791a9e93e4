"""Strategies side by side on the images that all were scored on without having seen them, and the one to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from topwork.paired import compare, corrected_resampled_t, holm
from topwork.parameters import STRATEGIES
from topwork.schemas import TEST, Bools

_ROUNDING = 1e-9  # a difference of one image is exactly one standard error
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
    tables: Mapping[str, pd.DataFrame], splits: pd.DataFrame, resamples: int, seed: int
) -> dict[str, Row]:
    """For each table of out-of-fold predictions the columns of `UNCOMPARED`.

    ``behind`` is its accuracy less that of the best, pair by pair on the images that all tables have, with a 95 %
    interval and a standard error; ``p`` is of the test that both are equal, ``p_adjusted`` counts that a table makes
    several (Holm). ``p_folds`` is that of the differences fold by fold, where there are enough.

    Args:
        tables: ``image_id``, ``label``, ``predicted``; by strategy or run.
        splits: with the groups and folds of the images.
        resamples: bootstrap draws.
        seed: of the draws.

    """
    ids = sorted(set.intersection(*(set(table["image_id"]) for table in tables.values()))) if tables else []
    if not ids:
        return {name: dict(UNCOMPARED) for name in tables}
    of_image = splits.set_index("image_id").loc[ids]
    right = {name: _right(table, ids) for name, table in tables.items()}
    best = max(right, key=lambda name: (right[name].mean(), -_cost(name)))
    folds = splits.loc[splits["split"] != TEST, "fold"].nunique()
    groups = of_image["group"].to_numpy(dtype=str)
    rows: dict[str, Row] = {}
    for name, mine in right.items():
        found = compare(mine, right[best], groups, resamples, seed)
        rows[name] = {
            **UNCOMPARED,
            "shared_accuracy": float(mine.mean()),
            "shared_images": len(ids),
            "behind": found.difference,
            "behind_low": found.low,
            "behind_high": found.high,
            "behind_error": found.error,
        }
        if name != best:
            rows[name] |= {"p": found.p, "p_folds": _p_folds(mine, right[best], of_image["fold"], folds)}
    others = [name for name in rows if name != best]
    for name, p in zip(others, holm([rows[name]["p"] for name in others]), strict=True):
        rows[name]["p_adjusted"] = p
    return rows


def rank(rows: Sequence[Row]) -> list[Row]:
    """Best out of fold first; what cannot be compared is last."""
    return sorted(rows, key=lambda row: (row["shared_accuracy"] is None, -(row["shared_accuracy"] or 0), _cost(row)))


def choose_champion(rows: Sequence[Row], errors: float) -> dict[str, Any]:
    """The cheapest strategy (earlier runs are none) that is at most so many standard errors behind the best, and why.

    The rule of one standard error (Breiman et al. 1984), on paired differences: with a few hundred images a test finds
    nothing significant, and would always take the cheapest.
    """
    compared = [row for row in rows if row["behind"] is not None and row["strategy"] in STRATEGIES]
    if not compared:
        return {"strategy": None, "reason": "no strategy has a score"}
    best = max(compared, key=lambda row: row["behind"])
    near = [row for row in compared if -row["behind"] <= errors * row["behind_error"] + _ROUNDING]
    chosen = min(near, key=_cost)
    if chosen is best:
        cheaper = [row for row in compared if _cost(row) < _cost(best)]
        equal = [row["strategy"] for row in compared if row["behind"] == 0 and row is not best]
        reason = f"as good out of fold as {' and '.join(equal)}, and cheaper" if equal else "best out of fold"
        reason += ", by more than the error of the difference to any cheaper one" if cheaper else ""
    else:
        reason = (
            f"{-100 * chosen['behind']:.1f} points behind {best['strategy']} out of fold, within {errors:g} standard "
            f"error of {100 * chosen['behind_error']:.1f}, and cheaper"
        )
    return {"strategy": chosen["strategy"], "reason": reason, "images": chosen["shared_images"]}


def _cost(row: Row | str) -> int:
    """Place among the strategies, which stand in the order of their cost."""
    name = row if isinstance(row, str) else row["strategy"]
    return STRATEGIES.index(name) if name in STRATEGIES else len(STRATEGIES)


def _right(table: pd.DataFrame, ids: Sequence[str]) -> Bools:
    rows = table.set_index("image_id").loc[list(ids)]
    return (rows["predicted"] == rows["label"]).to_numpy()


def _p_folds(mine: Bools, best: Bools, fold: pd.Series[int], folds: int) -> float | None:
    difference = pd.Series(mine.astype(float) - best.astype(float), index=fold.index)
    by_fold = difference.groupby(fold).mean()
    if len(by_fold) < _FEWEST_FOLDS:
        return None
    return corrected_resampled_t(by_fold.to_list(), 1 / (folds - 1))
