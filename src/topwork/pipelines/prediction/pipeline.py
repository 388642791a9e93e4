"""From `new_images` and `asked_classifier` to `new_predictions`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.prediction.nodes import answer_new_images, draw_answers, explain_answers, tabulate_answers


def create_pipeline() -> Pipeline:
    """Answer for new files, then collect all answers in one table."""
    return Pipeline(
        [
            Node(
                answer_new_images,
                ["new_images", "asked_classifier", "known_answers", "params:prediction"],
                "answers",
                name="answer_new_images",
            ),
            Node(
                tabulate_answers,
                ["new_images", "asked_classifier", "answers", "params:prediction"],
                ["new_predictions", "new_predictions_table"],
                name="tabulate_answers",
            ),
            Node(
                draw_answers,
                ["new_images", "new_predictions_table", "params:prediction"],
                "new_sheets",
                name="draw_answers",
            ),
            Node(
                explain_answers,
                ["new_images", "asked_classifier", "new_predictions_table", "params:prediction"],
                "new_explanations",
                name="explain_answers",
            ),
        ],
        namespace="prediction",
        prefix_datasets_with_namespace=False,
    )
