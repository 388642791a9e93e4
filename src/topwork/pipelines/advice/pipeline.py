"""From `features`, `splits` and `screen` to `advice`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.advice.nodes import advise, draw_learning_curve, gather


def create_pipeline() -> Pipeline:
    """Gather evidence, give advice, and draw the learning curve."""
    return Pipeline(
        [
            Node(
                gather,
                ["features", "manifest", "splits", "screen", "params:logistic", "params:comparison"],
                "evidence",
                name="gather_evidence",
            ),
            Node(
                advise,
                ["evidence", *(f"params:{name}" for name in ("finetune", "scratch", "logistic", "svm"))],
                "advice",
                name="advise",
            ),
            Node(draw_learning_curve, "evidence", "probe_curve", name="draw_learning_curve"),
        ],
        namespace="advice",
        prefix_datasets_with_namespace=False,
    )
