"""From a folder of images to a manifest and splits."""

from topwork.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
