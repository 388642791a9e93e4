"""From `images` to `manifest`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.ingestion.nodes import inspect_images, make_manifest


def create_pipeline() -> Pipeline:
    """Inspect the files, and list them."""
    return Pipeline(
        [
            Node(
                inspect_images,
                ["images", "known_files", "params:ingestion"],
                "inspected_files",
                name="inspect_images",
            ),
            Node(
                make_manifest,
                ["images", "inspected_files", "label_ledger", "params:ingestion", "params:comparison"],
                ["manifest", "rejected_files"],
                name="make_manifest",
            ),
        ],
        namespace="ingestion",
        prefix_datasets_with_namespace=False,
    )
