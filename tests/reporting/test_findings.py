from __future__ import annotations

from typing import Any

import pytest

from topwork.core.results import ALREADY, Advice, Champion, Evidence, Expected, Forecast, Leaderboard, Row, Status
from topwork.reporting.findings import cost, differences, how_sure, learnt, next_steps

BEST = Row(
    **{"strategy": "svm", "status": Status.OK, "accuracy": 0.9, "accuracy_low": 0.85, "accuracy_high": 0.94},
    **{"seconds": 12.0, "seconds_per_thousand": 150.0, "megabytes": 13.56},
)
CHAMPION = Champion(strategy="svm", reason="best out of fold", promotion="the first champion", promoted=True)
EVIDENCE = Evidence(
    **{"images": 100, "classes": 2, "largest_class": 50, "smallest_class": 50, "median_side": 200, "probe": "logistic"},
    **{"probe_accuracy": 0.8, "probe_low": 0.7, "probe_high": 0.9, "probe_seconds": 1, "above_chance": 0.6},
    knn_accuracy=0.7,
    forecast=(
        Forecast(images=100, accuracy=0.8, low=0.7, high=0.9),
        Forecast(images=200, accuracy=0.85, low=0.75, high=0.95),
    ),
)
ADVICE = Advice(
    **{"practice": "", "says": "", "recommended": "svm", "settings": {}, "worth_running": ("svm",), "sure": ""},
    **{"ruled_out": {"scratch": "too few images"}, "cost_seconds": {}, "more_images": "", "evidence": EVIDENCE},
    expected=Expected(accuracy=0.8, low=0.7, high=0.9),
)


def network(strategy: str) -> Row:
    short_of_time = {"epochs_in_time": 1.0, "epochs_wanted": 10.0, "epoch_seconds": 60.0}
    return BEST.model_copy(update={"strategy": strategy, **short_of_time})


def compared(strategy: str, p: float) -> Row:
    return BEST.model_copy(update={"strategy": strategy, "p_adjusted": p})


def test_what_was_learnt_is_told_beside_what_needs_no_learning() -> None:
    told = learnt(BEST, 200, 5, 0.3)
    assert "of 200 images that it had never seen, it names the right class for 180, which are 90.0 %" in told
    assert "most frequent class would be right for 30.0 %" in told


def test_an_interval_is_told_in_images_and_a_wide_one_with_its_cause() -> None:
    assert how_sure(BEST, 200).startswith("Of 1,000 new images like these, expect 850 to 940 right")
    assert "wide" not in how_sure(BEST, 200)
    assert "only 1 image tested it" in how_sure(BEST.model_copy(update={"accuracy_low": 0.2}), 1)


def test_differences_that_luck_explains_are_told_apart_from_others() -> None:
    board = Leaderboard((BEST, compared("lda", 0.4), compared("scratch", 0.001)))
    assert differences(board) == "Not shown to differ from svm: lda. Worse than svm by more than luck: scratch."
    assert differences(Leaderboard((BEST,))) == ""


def test_costs_that_were_not_measured_are_left_out() -> None:
    measured = "2.5 min for 1,000 images on the machine of this run; 13.6 MB on disk; trained in 12.0 s"
    assert cost(BEST) == f"{measured}, once the features were computed."
    assert cost(Row(strategy="svm", status=Status.OK)) == "Not measured."


def test_what_to_do_next_is_only_what_this_run_calls_for() -> None:
    board = Leaderboard((BEST, network("finetune"), network("scratch")))
    serve, labels, finetune, images = next_steps(CHAMPION, ADVICE, board, rejected=0, doubtful=3)
    assert serve == "Use it: `make serve` serves this model now (the first champion)."
    assert labels.startswith("Look at 3 labels")
    assert finetune.startswith("finetune had the time for 1.0 of the 10 epochs")
    assert "with 200 to learn from in place of 100" in images


def test_slices_on_which_it_is_worse_are_warned_of_before_it_is_used() -> None:
    champion = CHAMPION.model_copy(update={"uneven": ("on site B it is right less often",)})
    _, warning, *_ = next_steps(champion, ADVICE, Leaderboard((BEST,)), rejected=2, doubtful=0)
    assert warning == "Beware: on site B it is right less often."


@pytest.mark.parametrize(
    ("update", "told"),
    [
        ({"promotion": ALREADY, "against": "2"}, "serves this model already"),
        ({"promotion": "too few to judge by", "against": "2"}, "serves version 2 as before, not this one: too few"),
        ({"promotion": "comparison.promote=never"}, "serves no model yet, not this one"),
    ],
)
def test_whether_the_champion_is_served_is_said(update: dict[str, Any], told: str) -> None:
    champion = CHAMPION.model_copy(update={"promoted": False, **update})
    assert told in next(iter(next_steps(champion, ADVICE, Leaderboard((BEST,)), 0, 0)))
