"""From `images` to `attributes`, `manifest` and `grey_range`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.ingestion.nodes import inspect_images, keep_attributes, make_manifest, measure_greys


def create_pipeline() -> Pipeline:
    """Keep what a table says of the images, inspect and list the files, and measure black and white if asked to."""
    return Pipeline(
        [
            Node(
                keep_attributes,
                ["images", "params:ingestion", "params:evaluation"],
                "attributes",
                name="keep_attributes",
            ),
            Node(
                inspect_images,
                ["images", "attributes", "known_files", "params:ingestion"],
                "inspected_files",
                name="inspect_images",
            ),
            Node(
                make_manifest,
                ["images", "attributes", "inspected_files", "label_ledger", "params:ingestion", "params:comparison"],
                ["manifest", "rejected_files"],
                name="make_manifest",
            ),
            Node(
                measure_greys,
                ["images", "manifest", "params:ingestion"],
                "grey_range",
                name="measure_greys",
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
