"""`{strategy}.metrics` and what belongs to it to `leaderboard`, `champion` and its `promotion`."""

import warnings

from kedro.pipeline import Node, Pipeline

from topwork.core.parameters import STRATEGIES
from topwork.pipelines.comparison.nodes import build_leaderboard, crown_champion, draw_leaderboard

_REPORTS = ("metrics", "timings", "out_of_fold", "serving", "logged_model")


def create_pipeline() -> Pipeline:
    """Every strategy in one table, whether it ran or not."""
    reports = [f"{strategy}.{report}" for strategy in STRATEGIES for report in _REPORTS]
    judged = ["leaderboard", "registered_champion", "images", "manifest", "splits", "params:comparison"]
    with warnings.catch_warnings():
        # Kedro warns of dots in names lest they be mistaken for namespaces; here they are the strategies' namespaces.
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        compare = Node(
            build_leaderboard,
            ["splits", "named_runs", "params:comparison", *reports],
            "leaderboard",
            name="build_leaderboard",
        )
        crown = Node(crown_champion, [*judged, *reports], ["champion", "promotion"], name="crown_champion")
    draw = Node(draw_leaderboard, "leaderboard", "leaderboard_plot", name="draw_leaderboard")
    return Pipeline([compare, crown, draw])
