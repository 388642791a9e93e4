"""`{strategy}.classifier` to `{strategy}.result`, which is all that others need: one template for every strategy."""

from kedro.pipeline import Node, Pipeline

from topwork.core.parameters import STRATEGIES
from topwork.pipelines.evaluation.nodes import (
    draw_confusion,
    draw_mistakes,
    predict_test_split,
    score_classes,
    score_strategy,
    try_serving,
)

_TEMPLATE = Pipeline(
    [
        Node(
            predict_test_split,
            ["images", "classifier", "features", "manifest", "splits"],
            ["predictions", "distances"],
            name="predict",
        ),
        Node(
            try_serving,
            ["images", "classifier", "predictions", "params:evaluation"],
            "serving",
            name="try_serving",
        ),
        Node(
            score_strategy,
            ["predictions", "distances", "out_of_fold", "splits", "classifier", "serving", "params:evaluation"],
            "result",
            name="score",
        ),
        Node(score_classes, ["predictions", "splits", "classifier"], "class_scores", name="score_classes"),
        Node(draw_confusion, ["predictions", "classifier"], "confusion_matrix", name="draw_confusion"),
        Node(
            draw_mistakes,
            ["images", "predictions", "classifier", "params:evaluation"],
            "mistakes",
            name="draw_mistakes",
        ),
    ]
)
_SHARED = {"images", "features", "manifest", "splits"}


def create_pipeline() -> Pipeline:
    """The template in the namespace of each strategy."""
    stamped = (Pipeline(_TEMPLATE, namespace=name, inputs=_SHARED, parameters={"evaluation"}) for name in STRATEGIES)
    return sum(stamped, Pipeline([]))
