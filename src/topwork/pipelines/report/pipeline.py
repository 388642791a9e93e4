"""`leaderboard`, `advice` and what lies behind them to `report`."""

import warnings

from kedro.pipeline import Node, Pipeline

from topwork.core.parameters import STRATEGIES
from topwork.pipelines.report.nodes import write_report

_FOUND = ("advice", "leaks", "leaderboard", "champion", "label_suggestions", "near_duplicates")


def create_pipeline() -> Pipeline:
    """Write the page."""
    predictions = [f"{strategy}.predictions" for strategy in STRATEGIES]
    with warnings.catch_warnings():
        # Kedro warns of dots in names lest they be mistaken for namespaces; here they are the strategies' namespaces.
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        write = Node(
            write_report,
            ["images", "manifest", "splits", *_FOUND, "params:report", *predictions],
            "report",
            name="write_report",
        )
    return Pipeline([write])
