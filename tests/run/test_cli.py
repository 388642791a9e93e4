from __future__ import annotations

import signal

import pytest
from kedro.pipeline import Node, Pipeline

from topwork.run.cli import Stopped
from topwork.run.plan import Part, plan_parts
from topwork.run.sessions import Terminated


def identity(value: object) -> object:
    return value


def strategy(name: str) -> Pipeline:
    return Pipeline([Node(identity, "features", "classifier", name="train")], namespace=name, inputs="features")


@pytest.mark.filterwarnings("ignore:One or more dataset names contain")
def test_each_strategy_is_a_part_between_what_comes_before_and_after() -> None:
    pipeline = (
        Pipeline([Node(identity, "images", "features", name="extract")])
        + strategy("svm")
        + strategy("logistic")
        + Pipeline([Node(identity, "svm.classifier", "leaderboard", name="compare")])
    )
    assert plan_parts(pipeline, ["logistic", "svm"]) == [
        Part(None, ("extract",)),
        Part("logistic", ("logistic.train",)),
        Part("svm", ("svm.train",)),
        Part(None, ("compare",)),
    ]
    assert [part.strategy for part in plan_parts(pipeline, ["svm"])] == [None, "svm", None]


def test_a_pipeline_without_strategies_is_one_part() -> None:
    pipeline = Pipeline([Node(identity, "images", "features", name="extract")])
    assert plan_parts(pipeline, ["svm"]) == [Part(None, ("extract",))]


def test_a_run_that_was_stopped_ends_with_the_code_of_its_signal() -> None:
    assert [Stopped(by).exit_code for by in (signal.SIGINT, signal.SIGTERM)] == [130, 143]
    assert issubclass(Terminated, KeyboardInterrupt)
