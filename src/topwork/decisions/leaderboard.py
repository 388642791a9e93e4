"""Compares the strategies on the out-of-fold images that all of them share, and chooses the champion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from topwork.core.results import Champion, Comparison, Leaderboard, Row, Status
from topwork.decisions.strategies import STRATEGIES, STRATEGY
from topwork.scoring.metric import Answers, Metric, told_difference, told_number
from topwork.scoring.paired import Difference, holm
from topwork.scoring.shared_images import answers_of, comparable, compare_predictions, shared_predictions

_SCORES = ("oof_accuracy", "oof_accuracy_low", "oof_accuracy_high", "oof_images")
_SIGNIFICANCE = 0.05  # of the paired test that a combination must pass, corrected for the number of comparisons
_BETTER = "better out of fold than the best strategy alone, by more than luck"
_ROUNDING = 1e-9  # if only one image differs, the difference is exactly one standard error


def compare_on_shared(
    tables: Mapping[str, pd.DataFrame],
    apart: Mapping[str, pd.DataFrame],
    splits: pd.DataFrame,
    seed: int,
    metric: Metric | None = None,
    combined: Mapping[str, pd.DataFrame] | None = None,
) -> dict[str, Comparison]:
    """Comparison of each table of out-of-fold predictions with the best one.

    ``behind`` is its score minus the score of the best, paired on the images that all ``tables`` share, with a
    standard error and an interval. ``p`` belongs to the test that both are equal. Because there are several
    comparisons, the intervals are corrected to hold together (Bonferroni), and so is ``p_adjusted`` (Holm).

    Args:
        tables: ``image_id``, ``label``, ``predicted``; by `Row.key`, cheapest first, all of these splits.
        apart: the same for other splits. Each is compared with the best of ``tables`` on the images that these two
            share, so that the images of the other comparisons stay the same.
        splits: table with the groups of the images.
        seed: seed of the random signs.
        metric: the score; None: accuracy.
        combined: tables of what is made of several others, such as an ensemble. Each is compared with the best of
            ``tables``, so that ``behind`` is positive where it is better than all that it is made of.

    """
    metric = metric or Metric()
    apart = {**apart, **(combined or {})}
    found = {name: Comparison() for name in (*tables, *apart)}
    shared = shared_predictions(list(tables.values())) if tables else pd.DataFrame()
    if shared.empty or not comparable(list(tables.values()), metric):
        return found
    group_of = splits.set_index("image_id")["group"]
    answers = {name: answers_of(shared, place) for place, name in enumerate(tables)}
    scores = {name: metric.value(of) for name, of in answers.items()}
    best = max(scores, key=lambda name: scores[name])  # the cheapest of equals: they come first
    groups, tests = shared["image_id"].map(group_of).to_numpy(dtype=str), max(1, len(found) - 1)
    for name, mine in answers.items():
        difference = metric.compare(mine, answers[best], groups, seed, tests)
        untested = {"p": None} if name == best else {}
        found[name] = _comparison(difference, mine, metric).model_copy(update=untested)
    for name, table in apart.items():
        if told := compare_predictions(table, tables[best], group_of, seed, tests, metric):
            found[name] = _comparison(told, answers_of(shared_predictions([table, tables[best]]), 0), metric)
    tested = {name: each.p for name, each in found.items() if each.p is not None}
    adjusted = dict(zip(tested, holm(list(tested.values())), strict=True))
    return {name: each.model_copy(update={"p_adjusted": adjusted.get(name)}) for name, each in found.items()}


def _comparison(found: Difference, answers: Answers, metric: Metric) -> Comparison:
    return Comparison(
        metric=metric.name,
        shared_score=metric.value(answers),
        shared_accuracy=Metric().value(answers),
        shared_images=len(answers.truth),
        behind=found.difference,
        behind_low=found.low,
        behind_high=found.high,
        behind_error=found.error,
        p=found.p,
    )


def rank(rows: Sequence[Row]) -> Leaderboard:
    """The leaderboard: best out of fold first, then rows of other splits by ``behind``, then rows without a score."""

    def place(row: Row) -> tuple[object, ...]:
        is_apart = row.status is not Status.OK
        order = -(row.behind or 0) if is_apart else -(row.shared_score or 0)
        return row.shared_score is None, is_apart, order, cost(row)

    return Leaderboard(tuple(sorted(rows, key=place)))


def choose_champion(leaderboard: Leaderboard, errors: float) -> Champion:
    """The cheapest strategy that is at most ``errors`` standard errors behind the best, and the reason.

    Earlier runs cannot be champion. This is the rule of one standard error (Breiman et al. 1984) on paired differences.
    A significance test would find nothing with a few hundred images, and would always choose the cheapest strategy. A
    network whose training gained nothing is no candidate, since it is the head that it started from, at a higher price.
    An ensemble costs as much as all its members: it is chosen only if it is better than the best of them by more than
    luck. A distilled network is never chosen: its teacher has learnt from the images that it is scored on.
    """
    scored = [
        row
        for row in leaderboard.rows
        if row.behind is not None and row.strategy in STRATEGIES and row.status is Status.OK
    ]
    if better := [row for row in scored if STRATEGY[row.strategy].averages and _is_better(row)]:
        return _crowned(max(better, key=lambda row: row.behind or 0.0), _BETTER)
    scored = [row for row in scored if not STRATEGY[row.strategy].combines]
    gained = [row for row in scored if not row.reason]  # a reason with a score says that the training gained nothing
    behind = {row: row.behind or 0.0 for row in gained or scored}
    if not behind:
        return Champion(strategy=None, reason="no strategy has a score")
    best = max(behind, key=lambda row: behind[row])
    near = [row for row in behind if behind[best] - behind[row] <= errors * (row.behind_error or 0.0) + _ROUNDING]
    chosen = min(near, key=cost)
    if chosen is best:
        cheaper = [row for row in behind if cost(row) < cost(best)]
        equal = [row.name for row in behind if behind[row] == behind[best] and row is not best]
        reason = (
            f"as good out of fold as {' and '.join(equal)}, and cheaper with many images"
            if equal
            else "best out of fold"
        )
        reason += ", by more than the error of the difference to any cheaper one" if cheaper else ""
    else:
        lead, error = behind[best] - behind[chosen], told_number(chosen.behind_error or 0.0, chosen.metric)
        reason = (
            f"{told_difference(lead, chosen.metric)} behind {best.name} out of fold, within {errors:g} standard "
            f"error of {error}, and cheaper with many images"
        )
    return _crowned(chosen, reason + _no_ensemble(leaderboard, best))


def _no_ensemble(leaderboard: Leaderboard, best: Row) -> str:
    """That an ensemble is not better, if there is one."""
    rows = [row for row in leaderboard.rows if row.strategy in STRATEGY and STRATEGY[row.strategy].averages]
    scored = [row for row in rows if row.behind is not None and row.status is Status.OK]
    return f"; the ensemble is not shown to be better than {best.name} alone" if scored else ""


def _is_better(row: Row) -> bool:
    """Whether a combination is better than the best of its members, by a paired test."""
    return not row.reason and (row.behind or 0.0) > 0 and row.p_adjusted is not None and row.p_adjusted < _SIGNIFICANCE


def _crowned(row: Row, reason: str) -> Champion:
    scores = {name: getattr(row, name) for name in _SCORES}
    which = {"metric": row.metric, "strategy": row.strategy, "features": row.features, "slot": row.slot}
    by = "" if row.metric == "accuracy" else f", by {Metric(row.metric).title}"
    return Champion(**which, reason=f"{reason}{by}", images=row.shared_images, **scores)


def cost(row: Row) -> tuple[float, ...]:
    """What orders the rows by cost: the strategy, as in the list of strategies, then the size of network and images.

    The work that a convolutional network does for an image grows about as its weights times the pixels.
    """
    position = STRATEGIES.index(row.strategy) if row.strategy in STRATEGIES else len(STRATEGIES)
    return position, (row.megabytes or 0.0) * (row.image_size or 0) ** 2
