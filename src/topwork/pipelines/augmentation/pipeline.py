"""From `manifest` and `params:augmentation` to `views` and `view_sheet`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.augmentation.nodes import draw_sheet, list_views


def create_pipeline() -> Pipeline:
    """List the views, and draw some of them."""
    return Pipeline(
        [
            Node(list_views, ["manifest", "params:augmentation"], "views", name="list_views"),
            Node(
                draw_sheet,
                ["images", "manifest", "views", "params:augmentation", "params:features"],
                "view_sheet",
                name="draw_sheet",
            ),
        ],
        namespace="augmentation",
        prefix_datasets_with_namespace=False,
    )
