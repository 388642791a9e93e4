"""From `features` and `splits` to `{strategy}.classifier`, for every strategy with a head on frozen features."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import REGISTRY, Strategy
from topwork.pipelines.classifier.nodes import trainer

_BLOCKS = ("features", "augmentation", "evaluation", "comparison")


def create_pipeline() -> Pipeline:
    """The training of each head, in the namespace of its strategy."""
    return sum((_training(strategy) for strategy in REGISTRY if strategy.head), Pipeline([]))


def _training(strategy: Strategy) -> Pipeline:
    name, shared = strategy.name, {"features", "manifest", "splits"}
    train = Node(
        trainer(strategy),
        [
            *("features", "manifest", "splits", "checkpoints"),
            *(f"params:{name}", *(f"params:{block}" for block in _BLOCKS)),
        ],
        ["classifier", "out_of_fold"],
        name="train",
    )
    return Pipeline([train], namespace=name, inputs=shared, parameters={name, *_BLOCKS})
