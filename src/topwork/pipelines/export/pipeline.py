"""From `asked_classifier` to `onnx_model`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.export.nodes import export_classifier


def create_pipeline() -> Pipeline:
    """Convert the classifier, and compare both on test images."""
    export = Node(
        export_classifier,
        ["images", "splits", "asked_classifier", "params:export"],
        ["onnx_model", "export_parity"],
        name="export_classifier",
    )
    return Pipeline([export], namespace="export", prefix_datasets_with_namespace=False)
