"""From `features`, `images` and `splits` to `finetune.classifier`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.finetune.nodes import draw_training, fit_probe, train_finetune

_SHARED = ("images", "features", "manifest", "splits", "known_features", "engines")
_INPUTS = {**{name: name for name in _SHARED}, "fitted_probes": "logistic.checkpoints"}
_BLOCKS = {"finetune", "features", "logistic", "augmentation", "comparison", "evaluation"}


def create_pipeline() -> Pipeline:
    """Fit the probe, train the network, and draw the training curve."""
    train = Node(
        train_finetune,
        [
            *("images", "features", "manifest", "splits", "probe", "known_features", "engines", "checkpoints"),
            *("params:finetune", "params:features", "params:logistic"),
            *("params:augmentation", "params:comparison", "params:evaluation"),
        ],
        ["classifier", "out_of_fold", "epochs"],
        name="train",
    )
    nodes = [
        Node(
            fit_probe,
            ["features", "splits", "fitted_probes", "params:logistic", "params:augmentation"],
            "probe",
            name="fit_probe",
        ),
        train,
        Node(draw_training, "epochs", "training_curve", name="draw_training"),
    ]
    return Pipeline(nodes, namespace="finetune", inputs=_INPUTS, parameters=_BLOCKS)
