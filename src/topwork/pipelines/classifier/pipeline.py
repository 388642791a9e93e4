"""`features` and `splits` to `{strategy}.classifier`."""

from collections.abc import Callable

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.classifier.nodes import train_logistic, train_svm

_TRAINERS = {"logistic": train_logistic, "svm": train_svm}


def create_pipeline() -> Pipeline:
    """The training of each linear strategy in a namespace of its own."""
    return sum((_strategy(name, trainer) for name, trainer in _TRAINERS.items()), Pipeline([]))


def _strategy(name: str, trainer: Callable[..., object]) -> Pipeline:
    shared = {"features", "manifest", "splits"}
    train = Node(
        trainer,
        ["features", "manifest", "splits", f"params:{name}", "params:features", "params:augmentation"],
        ["classifier", "out_of_fold"],
        name="train",
    )
    return Pipeline([train], namespace=name, inputs=shared, parameters={name, "features", "augmentation"})
