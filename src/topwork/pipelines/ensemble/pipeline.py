"""From `{strategy}.result` and `{strategy}.classifier` of the other strategies to `ensemble.classifier`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import BASIC
from topwork.pipelines.ensemble.nodes import predict_by_members, train_ensemble

_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in BASIC}
_SHARED = ("splits", "manifest", "trained", "other_results")
_BLOCKS = ("ensemble", "evaluation", "comparison")


def create_pipeline() -> Pipeline:
    """Choose the members, and average their predictions on the test split."""
    nodes = [
        Node(
            train_ensemble,
            [*_SHARED, *(f"params:{block}" for block in _BLOCKS), *_RESULTS],
            ["classifier", "out_of_fold", "members"],
            name="train",
        ),
        Node(
            predict_by_members,
            ["classifier", "members", *_SHARED, *_RESULTS],
            ["predictions", "distances"],
            name="predict",
        ),
    ]
    inputs = {**{name: name for name in _SHARED}, **_RESULTS}
    return Pipeline(nodes, namespace="ensemble", inputs=inputs, parameters=set(_BLOCKS))
