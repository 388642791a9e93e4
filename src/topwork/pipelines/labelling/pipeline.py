"""From `new_shards` and `asked_classifier` to `label_these`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.labelling.nodes import choose_images, draw_requests, join_labelled, list_unusable


def create_pipeline() -> Pipeline:
    """Choose images to label, draw them, and join what the user has labelled with what was labelled before."""
    return Pipeline(
        [
            Node(
                choose_images,
                [
                    *("new_images", "new_manifest", "new_shards", "asked_classifier", "manifest", "earlier_requests"),
                    *("params:labelling", "params:duplicates"),
                ],
                ["label_these", "asked_images"],
                name="choose_images",
            ),
            Node(list_unusable, "new_manifest", "not_usable", name="list_unusable"),
            Node(
                join_labelled,
                ["manifest", "attributes", "splits", "label_these"],
                "labelled_images",
                name="join_labelled",
            ),
            Node(
                draw_requests,
                ["new_images", "asked_images", "params:labelling"],
                "label_these_sheet",
                name="draw_requests",
            ),
        ],
        namespace="labelling",
        prefix_datasets_with_namespace=False,
    )
