from __future__ import annotations

import pytest
from kedro.framework.project import pipelines
from kedro.pipeline import node
from kedro.pipeline.node import Node

from topwork.decisions.strategies import STRATEGIES
from topwork.run.stages import Stages, stage_of, told_seconds


def of_namespace(namespace: str) -> Node:
    return node(len, "given", "made", name="count", namespace=namespace)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("namespace", "title", "stage"),
    [
        ("ingestion", "", "Reading images"),
        ("ingestion", "svm · resnet50", "Reading images"),
        ("svm", "", "svm"),
        ("svm", "svm · resnet50", "svm · resnet50"),
        ("of_the_user", "svm · resnet50", "of_the_user"),
    ],
)
def test_a_stage_has_a_name_in_words_and_a_strategy_that_of_its_features(
    namespace: str, title: str, stage: str
) -> None:
    assert stage_of(of_namespace(namespace), title) == stage


def test_a_stage_whose_nodes_take_turns_with_others_ends_once_with_all_its_seconds() -> None:
    ended, clock = list[tuple[str, float]](), Clock()
    stages = Stages(lambda stage, seconds: ended.append((stage, seconds)), clock)
    stages.plan(["Features", "Splitting", "Features"])
    for stage, seconds in (("Features", 2.0), ("Splitting", 3.0), ("Features", 4.0)):
        stages.enter(stage)
        clock.now += seconds
    assert ended == [("Splitting", 3.0)]
    stages.end()
    assert ended == [("Splitting", 3.0), ("Features", 6.0)]
    assert stages.current == ""


def test_a_stage_that_breaks_off_ends_too() -> None:
    ended, clock = list[str](), Clock()
    stages = Stages(lambda stage, _: ended.append(stage), clock)
    stages.plan(["Features", "Features"])
    stages.enter("Features")
    stages.end()
    assert ended == ["Features"]


@pytest.mark.parametrize(
    ("seconds", "told"), [(1.25, "1.2 s"), (9.97, "10 s"), (59.7, "1 min 0 s"), (185, "3 min 5 s")]
)
def test_durations_are_told_as_people_say_them(seconds: float, told: str) -> None:
    assert told_seconds(seconds) == told


@pytest.mark.usefixtures("project")
def test_every_pipeline_but_the_strategies_has_a_name_in_words() -> None:
    nodes = [node for pipeline in pipelines.values() for node in pipeline.nodes]
    assert {stage for node in nodes if (stage := stage_of(node)) == node.namespace} <= set(STRATEGIES)
