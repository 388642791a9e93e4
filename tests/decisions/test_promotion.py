from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import PROJECT
from topwork.core.digests import classes_digest
from topwork.core.errors import InputError
from topwork.core.parameters import ComparisonParameters
from topwork.core.runs import RegisteredChampion
from topwork.decisions.promotion import Rule, Verdict, judge
from topwork.run.configuration import load_configuration

COUNT = 80
IMAGES = pd.DataFrame(
    {"image_id": [f"i{n:02d}" for n in range(COUNT)], "label": "x", "sha256": [f"s{n}" for n in range(COUNT)]}
)
GROUPS = pd.Series(IMAGES["image_id"].to_numpy(), index=IMAGES["image_id"])


def table(wrong: int) -> pd.DataFrame:
    found = IMAGES.assign(predicted=np.where(np.arange(COUNT) < wrong, "y", "x"))
    found.attrs = {"class_names": ["x", "y"]}
    return found


def champion(wrong: int, digest: str = "now", learnt: int = COUNT) -> RegisteredChampion:
    return RegisteredChampion(
        version="1",
        model_id="old",
        strategy="svm",
        split_digest=digest,
        out_of_fold=table(wrong),
        learnt=frozenset(IMAGES["sha256"][:learnt]),
        classes=classes_digest(["y", "x"]),
        classifier=lambda: pytest.fail("not asked for"),
    )


def verdict(wrong: int, registered: RegisteredChampion | None, model: str = "new", **changed: Any) -> Verdict:
    block = load_configuration(PROJECT / "conf", None, {})["parameters"]["comparison"]
    parameters = ComparisonParameters.model_validate({**block, **changed})

    def answers(rows: pd.DataFrame) -> pd.DataFrame:
        assert registered is not None and registered.learnt is not None
        assert not set(rows["sha256"]) & registered.learnt
        return pd.DataFrame({"predicted": ["y"] * len(rows)})

    return judge(table(wrong), model, "now", registered, answers, GROUPS, parameters)


def test_the_first_champion_needs_no_test() -> None:
    assert verdict(70, None).moves


def test_a_newcomer_that_is_better_by_more_than_luck_takes_the_alias() -> None:
    found = verdict(5, champion(20))
    assert found.moves
    assert found.difference is not None and found.difference.difference == pytest.approx(15 / COUNT)
    assert "better on 80 images that both were scored on out of fold" in found.reason


@pytest.mark.parametrize("wrong", [17, 20, 40])
def test_one_that_is_not_leaves_it_where_it_is(wrong: int) -> None:
    found = verdict(wrong, champion(20))
    assert not found.moves
    assert "not shown to be better" in found.reason


def test_a_champion_of_other_images_is_judged_by_those_it_never_learnt_from() -> None:
    found = verdict(0, champion(0, digest="before", learnt=40))
    assert found.moves
    assert found.difference is not None and found.difference.images == 40
    assert "never learnt from" in found.reason


def test_where_only_labels_were_mended_both_are_judged_out_of_fold_once_more() -> None:
    found = verdict(0, champion(20, digest="before", learnt=60))
    assert found.moves
    assert found.difference is not None and found.difference.images == 60
    assert "60 images that both were scored on out of fold" in found.reason


def test_too_few_images_leave_the_alias_and_say_so() -> None:
    old = champion(70, digest="before", learnt=60)
    found = verdict(0, replace(old, out_of_fold=old.out_of_fold.head(20)))
    assert not found.moves
    assert found.reason.startswith(
        "too few to judge by: 20 images that both were scored on out of fold, 30 are wanted; comparison.promote="
    )


def test_a_champion_of_which_nothing_is_kept_stays() -> None:
    found = verdict(0, replace(champion(70), learnt=None))
    assert not found.moves
    assert "nothing is kept" in found.reason


def test_a_champion_that_cannot_be_asked_stays() -> None:
    block = load_configuration(PROJECT / "conf", None, {})["parameters"]["comparison"]

    def refused(_rows: pd.DataFrame) -> pd.DataFrame:
        raise InputError("other weights")

    old, parameters = champion(0, digest="before", learnt=10), ComparisonParameters.model_validate(block)
    found = judge(table(0), "new", "now", old, refused, GROUPS, parameters)
    assert (found.moves, found.reason) == (False, "the champion cannot be asked (other weights)")


def test_the_user_may_decide_instead() -> None:
    assert verdict(80, champion(0), promote="always").moves
    assert not verdict(0, champion(80), promote="never").moves
    assert not verdict(0, None, promote="never").moves
    assert verdict(0, champion(80), model="old", promote="always").reason == "it is the champion already"


def test_a_champion_for_other_classes_is_another_task_and_keeps_its_name() -> None:
    other = replace(champion(80), classes=classes_digest(["cat", "dog"]))
    found = verdict(0, other)
    assert not found.moves
    assert "knows other classes" in found.reason
    assert "model=NAME" in found.reason
    assert verdict(0, other, promote="always").moves
    assert verdict(0, replace(other, classes="")).moves  # from before classes were kept


WISH = "x, recall >= 0.95 with a certainty of 90%"


def told(right: int) -> pd.DataFrame:
    """Predictions with probabilities: sure and right on the first images, sure and wrong on the others."""
    chance = np.where(np.arange(COUNT) < right, 0.9, 0.1)
    found = IMAGES.assign(
        predicted=np.where(chance > 0.5, "x", "y"), probabilities=[np.array([share, 1 - share]) for share in chance]
    )
    found.attrs = {"class_names": ["x", "y"]}
    return found


def called_x(predictions: pd.DataFrame) -> pd.DataFrame:
    """The predictions with a threshold that is met by the surer half of the answers."""
    chance = np.stack(predictions["probabilities"].to_list())[:, 0]
    found = predictions.assign(predicted=np.where(chance > 0.5, "x", "y"))
    found.attrs = predictions.attrs
    return found


def asked(newcomer: pd.DataFrame, old: RegisteredChampion, words: str = WISH, **changed: Any) -> Verdict:
    block = load_configuration(PROJECT / "conf", None, {})["parameters"]["comparison"]
    parameters = ComparisonParameters.model_validate({**block, **changed})
    nobody = lambda _: pytest.fail("not asked")  # noqa: E731
    return judge(newcomer, "new", "now", old, nobody, GROUPS, parameters, Rule(words, called_x))


def test_a_model_that_answers_by_the_rule_asked_for_takes_the_alias_although_it_is_no_better() -> None:
    found = asked(told(60), replace(champion(0), out_of_fold=told(60)))
    assert found.moves
    assert found.reason.startswith(f"it answers as asked: {WISH}; not shown to be worse than the champion, asked the")


def test_the_champion_is_compared_as_if_it_had_been_asked_the_same() -> None:
    plain = told(60).assign(predicted="x")  # all right by its own answers, and less so by those of the rule
    plain.attrs = told(60).attrs
    assert asked(told(60), replace(champion(0), out_of_fold=plain)).moves


def test_one_that_does_as_asked_worse_than_the_champion_would_leaves_the_alias_and_says_how_to_serve_it() -> None:
    found = asked(told(40), replace(champion(0), out_of_fold=told(70)))
    assert not found.moves
    assert "worse than the champion, asked the same, on 80 images" in found.reason
    assert "-37.5 points" in found.reason
    assert "make serve MODEL=models:/new" in found.reason


def test_a_model_that_was_asked_the_same_as_the_champion_has_to_be_better() -> None:
    assert not asked(told(60), replace(champion(0), out_of_fold=told(60), rule=WISH)).moves


def test_a_run_that_asks_for_no_rule_leaves_a_champion_that_has_one() -> None:
    found = asked(told(80), replace(champion(0), out_of_fold=told(40), rule=WISH), words="")
    assert not found.moves
    assert f"the champion answers by a rule ({WISH}), and this run asked for none" in found.reason


def test_a_model_that_was_chosen_by_another_metric_as_asked_takes_the_alias_unless_it_is_worse_by_that() -> None:
    old = replace(champion(0), out_of_fold=told(60), rule="", metric="accuracy")
    found = asked(told(60), old, words="", metric="balanced_accuracy")
    assert found.moves
    assert found.reason.startswith("it is chosen as asked, by balanced_accuracy; not shown to be worse")
    assert not asked(told(60), replace(old, metric="balanced_accuracy"), words="", metric="balanced_accuracy").moves
    assert not asked(told(30), old, words="", metric="balanced_accuracy").moves


def test_on_other_images_a_rule_alone_does_not_move_the_alias() -> None:
    old = replace(champion(20, digest="before"), out_of_fold=told(60))
    found = asked(told(60), old)
    assert not found.moves
    assert f"it answers as asked: {WISH}; `make serve MODEL=models:/new` serves the new model" in found.reason
