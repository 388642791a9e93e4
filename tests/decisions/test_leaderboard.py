from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from topwork.core.results import Comparison, Leaderboard, Row, Status
from topwork.decisions.leaderboard import choose_champion, compare_on_shared, rank

COUNT = 60
SPLITS = pd.DataFrame(
    {
        "image_id": [f"i{number:02d}" for number in range(COUNT)],
        "label": "x",
        "group": [f"g{number:02d}" for number in range(COUNT)],
        "split": "train",
        "fold": np.arange(COUNT) % 3,
    }
)


def predictions(wrong: int) -> pd.DataFrame:
    """The first so many are wrong."""
    return SPLITS.assign(predicted=np.where(np.arange(COUNT) < wrong, "y", "x"))


def board(**wrong: int) -> Leaderboard:
    compared = compare_on_shared({name: predictions(count) for name, count in wrong.items()}, {}, SPLITS, 0)
    return rank([Row(strategy=name, status=Status.OK, **vars(found)) for name, found in compared.items()])


def test_every_strategy_is_told_from_the_best_pair_by_pair() -> None:
    best, near, far = board(logistic=4, finetune=2, scratch=30).rows
    assert [row.strategy for row in (best, near, far)] == ["finetune", "logistic", "scratch"]
    assert (best.behind, best.p, best.p_adjusted) == (0, None, None)
    assert near.behind == pytest.approx(-2 / COUNT)
    assert near.behind_low < near.behind < near.behind_high
    assert far.p < 1e-6 < near.p == pytest.approx(0.5)
    assert far.p_adjusted == pytest.approx(2 * far.p)


def test_nothing_is_compared_where_no_image_is_shared() -> None:
    apart = {"svm": predictions(3)[:30], "logistic": predictions(3)[30:]}
    compared = compare_on_shared(apart, {}, SPLITS, 0)
    assert set(compared.values()) == {Comparison()}


def test_what_was_scored_on_another_split_is_told_from_the_best_but_never_the_champion() -> None:
    compared = compare_on_shared(
        {"svm": predictions(10), "logistic": predictions(12)}, {"finetune": predictions(0).head(40)}, SPLITS, 0
    )
    assert (compared["finetune"].shared_images, compared["finetune"].behind) == (40, 10 / 40)
    assert compared["svm"].shared_images == COUNT  # it takes no image from the others
    status = {"finetune": Status.OTHER_SPLIT}
    rows = [Row(strategy=name, status=status.get(name, Status.OK), **vars(found)) for name, found in compared.items()]
    assert [row.strategy for row in rank(rows).rows] == ["svm", "logistic", "finetune"]
    assert choose_champion(rank(rows), 0.0).strategy == "svm"


def test_nothing_at_all_is_compared_with_nothing() -> None:
    assert compare_on_shared({}, {}, SPLITS, 0) == {}


def test_the_champion_is_the_cheapest_within_one_error_of_the_best() -> None:
    assert choose_champion(board(logistic=3, finetune=2), 1.0).strategy == "logistic"
    assert choose_champion(board(logistic=3, finetune=2), 0.0).strategy == "finetune"
    clear = choose_champion(board(logistic=30, finetune=2), 1.0)
    assert clear.strategy == "finetune"
    assert "best out of fold" in clear.reason


def test_a_network_that_gained_nothing_is_champion_only_where_nothing_else_is() -> None:
    rows = [
        row.model_copy(update={"reason": "no step was better than the start"}) if row.strategy == "finetune" else row
        for row in board(logistic=30, finetune=2).rows
    ]
    assert choose_champion(rank(rows), 0.0).strategy == "logistic"
    assert choose_champion(rank([row for row in rows if row.reason]), 0.0).strategy == "finetune"


def test_of_equals_the_cheaper_is_taken() -> None:
    assert choose_champion(board(finetune=3, svm=3), 1.0).strategy == "svm"


def test_without_scores_there_is_no_champion() -> None:
    assert choose_champion(Leaderboard(()), 1.0).strategy is None


def with_ensemble(alone: int, together: int) -> Leaderboard:
    compared = compare_on_shared(
        {"logistic": predictions(alone), "svm": predictions(alone + 2)},
        {},
        SPLITS,
        0,
        combined={"ensemble": predictions(together)},
    )
    return rank([Row(strategy=name, status=Status.OK, **vars(found)) for name, found in compared.items()])


def test_an_ensemble_is_told_from_the_best_of_the_others() -> None:
    rows = {row.strategy: row for row in with_ensemble(alone=20, together=5).rows}
    assert rows["ensemble"].behind == pytest.approx(15 / COUNT)
    assert rows["logistic"].p is None  # the best of the strategies; the others are compared with it
    assert rows["svm"].behind == pytest.approx(-2 / COUNT)


def test_an_ensemble_is_champion_only_if_it_is_better_by_more_than_luck() -> None:
    better = choose_champion(with_ensemble(alone=20, together=5), 1.0)
    assert better.strategy == "ensemble"
    assert "by more than luck" in better.reason
    equal = choose_champion(with_ensemble(alone=20, together=18), 1.0)
    assert equal.strategy == "logistic"
    assert equal.reason.endswith("; the ensemble is not shown to be better than logistic alone")
    assert choose_champion(with_ensemble(alone=20, together=25), 1.0).strategy == "logistic"


def test_an_ensemble_of_one_is_no_champion() -> None:
    rows = [
        row.model_copy(update={"reason": "no other strategy improves it"}) if row.strategy == "ensemble" else row
        for row in with_ensemble(alone=20, together=5).rows
    ]
    assert choose_champion(rank(rows), 1.0).strategy == "logistic"
