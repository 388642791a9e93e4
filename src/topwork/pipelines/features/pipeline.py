"""`images` and `manifest` to `features`, by way of the store; splits are not known here."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.features.nodes import extract_features, gather_features


def create_pipeline() -> Pipeline:
    """Compute what is missing, then gather."""
    return Pipeline(
        [
            Node(
                extract_features,
                ["images", "manifest", "known_features", "engines", "params:features", "params:augmentation"],
                "feature_shards",
                name="extract_features",
            ),
            Node(
                gather_features,
                ["feature_shards", "manifest", "engines", "params:features", "params:augmentation"],
                "features",
                name="gather_features",
            ),
        ],
        namespace="features",
        prefix_datasets_with_namespace=False,
    )
