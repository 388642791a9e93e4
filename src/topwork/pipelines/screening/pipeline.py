"""From `images` and `splits` to `screen`, which says on which features the strategies are trained."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.screening.nodes import extract_kept, extract_sample, find_candidates, rank_candidates

_STORES = ("known_features", "engines", "grey_range")
_BLOCKS = ("params:features", "params:screening")


def create_pipeline() -> Pipeline:
    """List the candidates, compute the features of some images for each, rank them, and compute the rest."""
    nodes = [
        Node(find_candidates, ["manifest", "params:features"], "candidates", name="find_candidates"),
        Node(
            extract_sample,
            ["images", "manifest", "splits", *_STORES, "candidates", *_BLOCKS],
            "sample_shards",
            name="extract_sample",
        ),
        Node(
            rank_candidates,
            [
                *("manifest", "splits", "sample_shards", "engines", "grey_range", "candidates"),
                *("params:logistic", *_BLOCKS, "params:comparison"),
            ],
            "screen",
            name="rank_candidates",
        ),
        Node(
            extract_kept,
            ["images", "manifest", *_STORES, "screen", "params:features"],
            "kept_shards",
            name="extract_kept",
        ),
    ]
    return Pipeline(nodes, namespace="screening", prefix_datasets_with_namespace=False)
