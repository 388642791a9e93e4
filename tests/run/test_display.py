from __future__ import annotations

import io

import pytest
from rich.console import Console

from topwork.core.results import Leaderboard, Row, Status
from topwork.run.display import leaderboard_table

ROW = Row(
    **{"strategy": "svm", "status": Status.OK, "oof_accuracy": 0.75, "oof_images": 40, "shared_images": 40},
    **{"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "shared_score": 0.6},
)


@pytest.mark.parametrize(("metric", "shared"), [("accuracy", "shared"), ("macro_f1", "shared, macro F1")])
def test_the_leaderboard_says_of_each_score_what_it_is(metric: str, shared: str) -> None:
    row = ROW.model_copy(update={"metric": metric})
    console = Console(file=io.StringIO(), width=100)
    console.print(leaderboard_table(Leaderboard((row,))))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert lines[1].strip() == "accuracy,"
    assert [lines[2].find(name) > 0 for name in ("out of fold", shared, "test accuracy, 95 %")] == [True] * 3
