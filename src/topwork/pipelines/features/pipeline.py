"""From `images` and `manifest` to `features`, through the store; splits are not used here."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.features.nodes import extract_features, gather_features, resolve_key


def create_pipeline() -> Pipeline:
    """Compute the missing features, then collect all features."""
    return Pipeline(
        [
            Node(
                resolve_key,
                ["manifest", "engines", "grey_range", "params:features"],
                "feature_key",
                name="resolve_key",
            ),
            Node(
                extract_features,
                [
                    *("images", "manifest", "known_features", "engines", "feature_key"),
                    *("params:features", "params:augmentation"),
                ],
                "feature_shards",
                name="extract_features",
            ),
            Node(
                gather_features,
                ["feature_shards", "manifest", "feature_key", "params:features", "params:augmentation"],
                "features",
                name="gather_features",
            ),
        ],
        namespace="features",
        prefix_datasets_with_namespace=False,
    )
