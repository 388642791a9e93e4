"""All runs on these images in MLflow."""

from topwork.pipelines.history.pipeline import create_pipeline

__all__ = ["create_pipeline"]
