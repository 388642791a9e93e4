"""From `{strategy}.classifier` to `{strategy}.result`, which other pipelines use; one template for all strategies."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import REGISTRY
from topwork.pipelines.evaluation.nodes import (
    draw_figures,
    predict_test_split,
    score_classes,
    score_strategy,
    slice_scores,
    try_serving,
)

_PREDICT = Pipeline(
    [
        Node(
            predict_test_split,
            ["images", "classifier", "features", "manifest", "splits"],
            ["predictions", "distances"],
            name="predict",
        ),
    ]
)
_TEMPLATE = Pipeline(
    [
        Node(
            try_serving,
            ["images", "classifier", "predictions", "params:evaluation"],
            "serving",
            name="try_serving",
        ),
        Node(score_classes, ["predictions", "splits", "classifier"], "class_scores", name="score_classes"),
        Node(
            slice_scores,
            ["predictions", "out_of_fold", "attributes", "splits", "params:evaluation"],
            "slices",
            name="slice_scores",
        ),
        Node(
            score_strategy,
            [
                *("predictions", "distances", "out_of_fold", "splits"),
                *("classifier", "serving", "class_scores", "slices", "params:evaluation"),
            ],
            "result",
            name="score",
        ),
        Node(
            draw_figures, ["images", "predictions", "classifier", "params:evaluation"], "figures", name="draw_figures"
        ),
    ]
)
_SHARED = {"images", "attributes", "manifest", "splits"}


def create_pipeline() -> Pipeline:
    """The template in the namespace of each strategy; one that is made of others predicts in its own pipeline."""
    return sum(
        (
            Pipeline(_TEMPLATE, namespace=each.name, inputs=_SHARED - {"manifest"}, parameters={"evaluation"})
            if each.averages
            else Pipeline(
                _PREDICT + _TEMPLATE, namespace=each.name, inputs=_SHARED | {"features"}, parameters={"evaluation"}
            )
            for each in REGISTRY
        ),
        Pipeline([]),
    )
