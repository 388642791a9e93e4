"""From `new_images` and `asked_classifier` to `new_manifest` and `new_shards`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.description.nodes import describe_new_images, inspect_new_images, list_new_images


def create_pipeline() -> Pipeline:
    """Inspect new files, list them, and compute their features."""
    return Pipeline(
        [
            Node(
                inspect_new_images,
                ["new_images", "asked_classifier", "manifest", "splits", "known_new_files", "params:ingestion"],
                "new_files",
                name="inspect_new_images",
            ),
            Node(
                list_new_images,
                ["new_images", "new_files", "manifest", "params:ingestion"],
                "new_manifest",
                name="list_new_images",
            ),
            Node(
                describe_new_images,
                ["new_images", "new_manifest", "asked_classifier", "known_features"],
                "new_shards",
                name="describe_new_images",
            ),
        ],
        namespace="description",
        prefix_datasets_with_namespace=False,
    )
