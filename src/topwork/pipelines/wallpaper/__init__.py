"""The worked example: images of the 17 wallpaper groups."""

from topwork.pipelines.wallpaper.pipeline import create_pipeline

__all__ = ["create_pipeline"]
