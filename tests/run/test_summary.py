from __future__ import annotations

from typing import Any

import pytest

from topwork.core.results import ALREADY, Champion, Leaderboard, Row, Status
from topwork.run.summary import champion_lines, leaderboard_lines, next_lines, notes

PAGE, RUNS = "data/08_reporting/report.html", "http://127.0.0.1:5000"
BEST = Row(
    **{"strategy": "svm", "status": Status.OK, "oof_accuracy": 0.75, "oof_images": 40, "shared_images": 40},
    **{"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9, "shared_score": 0.6},
)
BEHIND = {"behind": -0.05, "behind_low": -0.1, "behind_high": 0.01, "p": 0.2, "p_adjusted": 0.4}
NEXT = BEST.model_copy(update={"strategy": "finetune", **BEHIND})
CHAMPION = Champion(strategy="svm", reason="best out of fold", promotion="the first champion", promoted=True)


def row_on(features: str, **update: Any) -> Row:
    return NEXT.model_copy(update={"features": features, **update})


@pytest.mark.parametrize(("metric", "shared"), [("accuracy", ["shared"]), ("macro_f1", ["shared,", "macro", "F1"])])
def test_the_leaderboard_says_of_each_score_what_it_is(metric: str, shared: list[str]) -> None:
    above, below, *_ = leaderboard_lines(Leaderboard((BEST.model_copy(update={"metric": metric}),)))
    assert above.split() == ["accuracy,", *shared[:-2], "behind,", "test", "accuracy,"]
    assert below.split() == ["strategy", "out", "of", "fold", *shared[-2:], "points", "p", "95", "%"]


def test_without_a_terminal_the_table_has_a_line_a_row_however_long_the_names_are() -> None:
    rows = (BEST, row_on("a name of a backbone that is long enough to be longer than a line of eighty characters"))
    lines = leaderboard_lines(Leaderboard(rows))
    assert len(lines) == 4
    assert rows[1].name in lines[3]


@pytest.mark.parametrize("width", [80, 72])
def test_a_terminal_of_so_many_columns_has_room_for_the_table(width: int) -> None:
    lines = leaderboard_lines(Leaderboard((BEST, row_on("resnet50, last 3 layers, 224 px", earlier="before"))), width)
    assert max(map(len, lines)) <= width
    words = {word for line in lines for word in line.split()}
    assert {"finetune", "resnet50,", "layers,", "px", "(earlier)", "test"} <= words
    assert ("0.4" in words) is (width == 80)  # p is what a narrow terminal leaves out


def test_a_strategy_without_a_score_says_why_below_the_table() -> None:
    failed = Row(strategy="scratch", status=Status.FAILED, reason="no memory")
    board = Leaderboard((BEST, failed))
    assert leaderboard_lines(board)[-1].split() == ["scratch", "failed"]
    assert notes(board)[-1] == "scratch failed: no memory."


def test_the_champion_is_one_sentence_with_the_interval_of_its_test_accuracy() -> None:
    told = champion_lines(CHAMPION, BEST)
    sure = "80.0 % of the test images are right (95 % interval: 70.0 to 90.0 %)"
    assert told == [f"Champion: svm, best out of fold; {sure}."]
    assert champion_lines(Champion(strategy=None, reason="no strategy has a score"), None) == [
        "No champion: no strategy has a score."
    ]


@pytest.mark.parametrize("update", [{}, {"promoted": False, "promotion": ALREADY, "against": "2"}])
def test_a_champion_that_is_served_says_so(update: dict[str, Any]) -> None:
    champion = CHAMPION.model_copy(update=update)
    report, runs, server = next_lines(champion, PAGE, RUNS, "flowers")
    assert report.endswith(PAGE)
    assert runs.endswith(RUNS)
    assert "MODEL=models:/flowers@champion" in server
    assert server.endswith(f"svm, {champion.promotion}")
    assert not any("Served" in line for line in champion_lines(champion, BEST))


@pytest.mark.parametrize(("against", "served"), [("2", "version 2 stays"), (None, "none")])
def test_a_champion_that_is_not_served_says_why_and_how_to_serve_it(against: str | None, served: str) -> None:
    update = {"promoted": False, "promotion": "too few to judge by", "against": against}
    champion = CHAMPION.model_copy(update=update)
    lines = next_lines(champion, PAGE, RUNS, "flowers")
    assert len(lines) == (4 if against else 3)
    assert "comparison.promote=always" in lines[-1]
    assert champion_lines(champion, BEST)[1] == f"Served: {served}: too few to judge by."
