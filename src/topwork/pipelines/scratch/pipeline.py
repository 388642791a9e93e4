"""From `images` and `splits` to `scratch.classifier`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.scratch.nodes import draw_training, train_scratch


def create_pipeline() -> Pipeline:
    """Train the network, and draw the training curve."""
    train = Node(
        train_scratch,
        [
            *("images", "manifest", "splits", "known_features", "engines", "checkpoints", "grey_range"),
            *("params:scratch", "params:augmentation", "params:comparison", "params:evaluation"),
        ],
        ["classifier", "out_of_fold", "epochs"],
        name="train",
    )
    draw = Node(draw_training, "epochs", "training_curve", name="draw_training")
    shared = {"images", "manifest", "splits", "known_features", "engines", "grey_range"}
    blocks = {"scratch", "augmentation", "comparison", "evaluation"}
    return Pipeline([train, draw], namespace="scratch", inputs=shared, parameters=blocks)
