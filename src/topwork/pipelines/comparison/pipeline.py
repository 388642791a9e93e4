"""From `{strategy}.result` to `leaderboard`, `champion` and `promotion`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import STRATEGIES
from topwork.pipelines.comparison.nodes import build_leaderboard, crown_champion, draw_leaderboard

_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in STRATEGIES}


def create_pipeline() -> Pipeline:
    """Compare all strategies, choose the champion, and draw the leaderboard."""
    judged = ["leaderboard", "registered_champion", "images", "manifest", "splits", "other_results"]
    nodes = [
        Node(
            build_leaderboard,
            ["splits", "named_runs", "other_results", "screen", "params:comparison", *_RESULTS],
            "leaderboard",
            name="build_leaderboard",
        ),
        Node(
            crown_champion,
            [*judged, "params:evaluation", "params:comparison", *_RESULTS],
            ["champion", "promotion"],
            name="crown_champion",
        ),
        Node(draw_leaderboard, "leaderboard", "leaderboard_plot", name="draw_leaderboard"),
    ]
    return Pipeline(nodes, namespace="comparison", prefix_datasets_with_namespace=False, inputs=_RESULTS)
