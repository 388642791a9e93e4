"""From `logged_runs` to `history`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.history.nodes import draw_history, tell_history


def create_pipeline() -> Pipeline:
    """List the runs, and draw their scores."""
    return Pipeline(
        [
            Node(
                tell_history,
                ["logged_runs", "manifest", "previous_splits", "params:comparison"],
                "history",
                name="tell_history",
            ),
            Node(draw_history, "history", "history_plot", name="draw_history"),
        ],
        namespace="history",
        prefix_datasets_with_namespace=False,
    )
