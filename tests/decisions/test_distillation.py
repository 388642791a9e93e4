from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from tests.decisions.test_ensemble import COUNT, DIGEST, NAMES, SPLITS, noise, result
from topwork.core.errors import InputError
from topwork.core.results import Status, StrategyResult
from topwork.decisions.distillation import best_teacher, price, told_by_teacher
from topwork.scoring.metric import Metric


def answering(strategy: str, right: int, **other: str) -> StrategyResult:
    """A result that is right on the first so many images."""
    made = result(strategy, noise(1), **other)
    wrong = SPLITS["label"].map({"cat": "dog", "dog": "cat"})
    table = made.out_of_fold.assign(predicted=np.where(np.arange(COUNT) < right, SPLITS["label"], wrong))
    table.attrs = made.out_of_fold.attrs
    return replace(made, out_of_fold=table)


def test_the_teacher_is_the_best_of_the_others_out_of_fold() -> None:
    results = [answering("logistic", 150), answering("ensemble", 170), answering("svm", 160)]
    assert best_teacher([*results, answering("distilled", 199)], SPLITS, Metric()).strategy == "ensemble"
    earlier = answering("finetune", 180, earlier="not asked for in this run")
    assert best_teacher([*results, earlier], SPLITS, Metric()).strategy == "ensemble"
    assert best_teacher([earlier], SPLITS, Metric()).strategy == "finetune"


def test_a_network_without_a_teacher_is_refused() -> None:
    other_split = StrategyResult("svm", Status.OK, split_digest="other")
    with pytest.raises(InputError, match=r"none has scores on these splits: name one.*strategies=logistic\+distilled"):
        best_teacher([other_split, answering("distilled", 10)], SPLITS, Metric())
    assert best_teacher([result("svm", noise(1))], SPLITS, Metric()).split_digest == DIGEST


def test_the_teacher_tells_its_probabilities_and_the_label_where_it_was_not_scored() -> None:
    images = pd.DataFrame({"image_id": ["a", "b", "c"], "label": ["dog", "cat", "dog"]})
    taught = pd.DataFrame({"image_id": ["c", "a"], "probabilities": [[0.8, 0.2], [0.1, 0.9]]})
    labels, told, known = told_by_teacher(images, taught, NAMES)
    np.testing.assert_array_equal(labels, [[0, 1], [1, 0], [0, 1]])
    np.testing.assert_allclose(told, [[0.1, 0.9], [1, 0], [0.8, 0.2]])
    assert known.tolist() == [True, False, True]


def test_the_price_is_the_students_test_score_minus_the_teachers() -> None:
    teacher, student = answering("ensemble", 170), answering("distilled", 150)
    teacher = replace(teacher, predictions=teacher.out_of_fold)
    student = replace(student, predictions=student.out_of_fold, training={"teacher": "ensemble"})
    told = price(student, [answering("logistic", 199), teacher], SPLITS, 0)
    assert told.startswith("against its teacher, ensemble: -10.0 points [-")
    assert "on 200 test images" in told
    assert price(student, [], SPLITS, 0) == ""
