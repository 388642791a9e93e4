"""`{strategy}.metrics` to `leaderboard`."""

from kedro.pipeline import Node, Pipeline

from topwork.parameters import STRATEGIES
from topwork.pipelines.comparison.nodes import build_leaderboard, draw_leaderboard


def create_pipeline() -> Pipeline:
    """Every strategy in one table, whether it ran or not."""
    reports = [f"{strategy}.{report}" for strategy in STRATEGIES for report in ("metrics", "timings")]
    return Pipeline(
        [
            Node(build_leaderboard, ["splits", *reports], "leaderboard", name="build_leaderboard"),
            Node(draw_leaderboard, "leaderboard", "leaderboard_plot", name="draw_leaderboard"),
        ]
    )
