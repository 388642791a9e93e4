"""From `params:digits` to `images`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.digits.nodes import render_digits


def create_pipeline() -> Pipeline:
    """Write the digits into the folder that ingestion reads."""
    return Pipeline(
        [Node(render_digits, "params:digits", "images", name="render_digits")],
        namespace="digits",
        prefix_datasets_with_namespace=False,
    )
