"""From `images` and `{strategy}.result` of the other strategies to `distilled.classifier`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import STRATEGIES
from topwork.pipelines.distilled.nodes import draw_training, train_distilled

_NAME = "distilled"
_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in STRATEGIES if strategy != _NAME}
_SHARED = ("images", "manifest", "splits", "known_features", "engines", "grey_range", "other_results")
_BLOCKS = (_NAME, "logistic", "augmentation", "comparison", "evaluation")


def create_pipeline() -> Pipeline:
    """Train the network, and draw the training curve."""
    train = Node(
        train_distilled,
        [
            *("images", "manifest", "splits", "known_features", "engines", "checkpoints", "grey_range"),
            *("other_results", *(f"params:{block}" for block in _BLOCKS), *_RESULTS),
        ],
        ["classifier", "out_of_fold", "epochs"],
        name="train",
    )
    draw = Node(draw_training, "epochs", "training_curve", name="draw_training")
    inputs = {**{name: name for name in _SHARED}, **_RESULTS}
    return Pipeline([train, draw], namespace=_NAME, inputs=inputs, parameters=set(_BLOCKS))
