"""From `{strategy}.result` and `label_ledger` to `label_suggestions`."""

from kedro.pipeline import Node, Pipeline

from topwork.decisions.strategies import STRATEGIES
from topwork.pipelines.labels.nodes import draw_label_errors, find_label_errors

_RESULTS = {f"result_of_{strategy}": f"{strategy}.result" for strategy in STRATEGIES}


def create_pipeline() -> Pipeline:
    """Find doubtful labels, and draw them."""
    nodes = [
        Node(
            find_label_errors,
            ["manifest", "splits", "label_ledger", "other_results", *_RESULTS],
            "label_suggestions",
            name="find_label_errors",
        ),
        Node(
            draw_label_errors, ["images", "label_suggestions", "params:labels"], "label_sheet", name="draw_label_errors"
        ),
    ]
    return Pipeline(nodes, namespace="labels", prefix_datasets_with_namespace=False, inputs=_RESULTS)
