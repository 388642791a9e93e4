"""From `leaderboard`, `advice` and the results behind them to `report`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import STRATEGIES
from topwork.pipelines.report.nodes import write_report

_FOUND = ("advice", "leaks", "leaderboard", "champion", "label_suggestions", "near_duplicates", "screen")
_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in STRATEGIES}


def create_pipeline() -> Pipeline:
    """Write the report page."""
    write = Node(
        write_report,
        ["images", "manifest", "splits", *_FOUND, "other_results", "run_facts", "params:report", *_RESULTS],
        "report",
        name="write_report",
    )
    return Pipeline([write], namespace="report", prefix_datasets_with_namespace=False, inputs=_RESULTS)
