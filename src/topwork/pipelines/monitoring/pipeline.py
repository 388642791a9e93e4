"""From `new_shards` and `reference_shards` to `drift`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import STRATEGIES
from topwork.pipelines.monitoring.nodes import describe_reference, draw_foreign, measure_drift

_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in STRATEGIES}


def create_pipeline() -> Pipeline:
    """Compute the features of the reference, compare the new images with it, and draw the most foreign ones."""
    nodes = [
        Node(
            describe_reference,
            ["images", "manifest", "splits", "asked_classifier", "known_features"],
            "reference_shards",
            name="describe_reference",
        ),
        Node(
            measure_drift,
            [
                *("new_images", "new_manifest", "new_shards", "reference_shards", "asked_classifier"),
                *("manifest", "splits", "other_results", "params:monitoring", "params:duplicates"),
                *_RESULTS,
            ],
            ["drift", "foreign_images"],
            name="measure_drift",
        ),
        Node(
            draw_foreign,
            ["new_images", "foreign_images", "params:monitoring"],
            "foreign_sheet",
            name="draw_foreign",
        ),
    ]
    return Pipeline(nodes, namespace="monitoring", prefix_datasets_with_namespace=False, inputs=_RESULTS)
