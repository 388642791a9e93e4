"""From `manifest` and `features` to `near_duplicates`, `splits` and `leaks`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.splitting.nodes import (
    describe_for_duplicates,
    draw_pairs,
    find_near_duplicates,
    report_leaks,
    resolve_duplicate_key,
    split_images,
)


def create_pipeline() -> Pipeline:
    """Find near-duplicates, split the images so that they stay together, and report the effect."""
    return Pipeline(
        [
            Node(
                resolve_duplicate_key,
                ["manifest", "engines", "grey_range", "params:features", "params:duplicates"],
                "duplicate_key",
                name="resolve_duplicate_key",
            ),
            Node(
                describe_for_duplicates,
                [
                    *("images", "manifest", "known_features", "engines", "duplicate_key"),
                    *("params:features", "params:duplicates"),
                ],
                "duplicate_shards",
                name="describe_for_duplicates",
            ),
            Node(
                find_near_duplicates,
                ["images", "manifest", "duplicate_shards", "duplicate_key", "params:duplicates"],
                "near_duplicates",
                name="find_near_duplicates",
            ),
            Node(
                split_images,
                ["images", "manifest", "near_duplicates", "previous_splits", "params:split", "params:duplicates"],
                ["splits", "split_report"],
                name="split_images",
            ),
            Node(
                report_leaks,
                ["manifest", "features", "near_duplicates", "splits", "params:split", "params:logistic"],
                "leaks",
                name="report_leaks",
            ),
            Node(
                draw_pairs,
                ["images", "near_duplicates", "params:duplicates"],
                "near_duplicate_sheet",
                name="draw_pairs",
            ),
        ],
        namespace="splitting",
        prefix_datasets_with_namespace=False,
    )
