"""From `params:wallpaper` to `images`."""

from kedro.pipeline import Node, Pipeline

from topwork.pipelines.wallpaper.nodes import draw_plate, render_wallpapers


def create_pipeline() -> Pipeline:
    """Write the images into the folder that ingestion reads, and a plate with one image of each group."""
    return Pipeline(
        [
            Node(render_wallpapers, "params:wallpaper", "images", name="render_wallpapers"),
            Node(draw_plate, "params:wallpaper", "wallpaper_plate", name="draw_plate"),
        ],
        namespace="wallpaper",
        prefix_datasets_with_namespace=False,
    )
