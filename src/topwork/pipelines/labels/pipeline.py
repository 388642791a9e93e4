"""`{strategy}.out_of_fold` and `label_ledger` to `label_suggestions`."""

import warnings

from kedro.pipeline import Node, Pipeline

from topwork.core.parameters import STRATEGIES
from topwork.pipelines.labels.nodes import draw_label_errors, find_label_errors

_REPORTS = ("metrics", "out_of_fold")


def create_pipeline() -> Pipeline:
    """Doubt labels, show them."""
    reports = [f"{strategy}.{report}" for strategy in STRATEGIES for report in _REPORTS]
    with warnings.catch_warnings():
        # Kedro warns of dots in names lest they be mistaken for namespaces; here they are the strategies' namespaces.
        warnings.filterwarnings("ignore", message="One or more dataset names contain '.'")
        find = Node(
            find_label_errors,
            ["manifest", "splits", "label_ledger", *reports],
            "label_suggestions",
            name="find_label_errors",
        )
    draw = Node(
        draw_label_errors, ["images", "label_suggestions", "params:labels"], "label_sheet", name="draw_label_errors"
    )
    return Pipeline([find, draw])
