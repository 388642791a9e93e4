from __future__ import annotations

import numpy as np

from topwork.core.classifier import Decision, LeastCost, called

ODDS = np.array([[0.9, 0.1], [0.96, 0.04], [0.2, 0.8]])
NAMES = ("healthy", "ill")


def test_without_a_decision_the_likeliest_class_is_answered() -> None:
    assert called(ODDS, NAMES, None).tolist() == [0, 0, 1]


def test_a_threshold_answers_its_class_from_there_on() -> None:
    assert called(ODDS, NAMES, Decision("ill", 0.1, "")).tolist() == [1, 0, 1]


def test_where_missing_the_ill_is_dear_they_are_called_ill_at_a_small_probability() -> None:
    assert called(ODDS, NAMES, LeastCost(((0.0, 1.0), (20.0, 0.0)))).tolist() == [1, 0, 1]


def test_costs_that_are_all_the_same_answer_the_likeliest_class() -> None:
    three = np.random.default_rng(0).dirichlet(np.ones(3), 50)
    same = LeastCost(tuple(tuple(float(row != column) for column in range(3)) for row in range(3)))
    np.testing.assert_array_equal(called(three, ("a", "b", "c"), same), three.argmax(axis=1))
