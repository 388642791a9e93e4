"""All runs on these images that MLflow knows."""

from topwork.pipelines.history.pipeline import create_pipeline

__all__ = ["create_pipeline"]
