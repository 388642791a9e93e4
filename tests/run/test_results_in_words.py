from __future__ import annotations

import pandas as pd

from topwork.core.results import Champion, Leaderboard, Row, Status, StrategyResult
from topwork.run.results_in_words import count_answers, note_of_answers, note_of_run, note_of_strategy

SCORES = {
    **{"oof_accuracy": 0.75, "oof_accuracy_low": 0.6, "oof_accuracy_high": 0.9, "oof_images": 40},
    **{"accuracy": 0.8, "accuracy_low": 0.7, "accuracy_high": 0.9},
}
TOLD = "accuracy 0.750 [0.600, 0.900] on 40 images out of fold, 0.800 [0.700, 0.900] on the test split."
ROWS = (
    Row(strategy="svm", status=Status.OK, shared_score=0.75, shared_images=40, **SCORES),
    Row(strategy="finetune", status=Status.FAILED, reason="no | memory"),
)
CHAMPION = Champion(strategy="svm", reason="best out of fold", promoted=True, promotion="the first champion")


def test_the_note_of_a_run_begins_with_the_scores_and_goes_on_with_reasons_and_all_strategies() -> None:
    first, champion, alias, table, failed = note_of_run(CHAMPION, Leaderboard(ROWS)).split("\n\n")
    assert first == f"svm: {TOLD}"
    assert champion == "Champion: svm, best out of fold."
    assert alias.endswith("moved to it: the first champion.")
    head, rule, *rows = table.splitlines()
    assert head.replace("&emsp;", "").startswith("| strategy | accuracy, out of fold | shared |")
    assert {line.count("|") for line in (head, rule, *rows)} == {7}
    assert rows[0].replace("&emsp;", "") == "| svm | 0.750 (40) | 0.750 | best |  | 0.800 [0.700, 0.900] |"
    assert failed == "finetune failed: no | memory."


def test_a_run_without_a_champion_says_why() -> None:
    note = note_of_run(Champion(strategy=None, reason="no strategy has a score"), Leaderboard(ROWS[1:]))
    assert note.startswith("No champion: no strategy has a score.")


def test_the_note_of_a_strategy_says_on_what_it_works_or_why_it_has_no_score() -> None:
    result = StrategyResult("svm", Status.OK, backbone="resnet18", image_size=224, scores=SCORES)
    assert note_of_strategy(result) == f"svm on resnet18, 224 px: {TOLD}"
    assert note_of_strategy(StrategyResult("svm", Status.FAILED, "no memory")) == "failed: no memory."


def test_answers_are_counted_and_the_most_frequent_classes_named() -> None:
    status, label = ["ok", "ok", "ok", "rejected"], ["cat", "dog", "cat", ""]
    none = pd.array([False, True, False, pd.NA], dtype="boolean")
    answers = pd.DataFrame({"status": status, "label": label, "none_of_these": none})
    assert list(count_answers(answers).values()) == [4, 1, 1]
    assert note_of_answers(answers) == (
        "4 files: 1 rejected, 1 may be of none of the classes. Answered most often: cat 2, dog 1."
    )
