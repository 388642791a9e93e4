"""From a folder of images to a manifest."""

from topwork.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
