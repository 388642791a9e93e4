"""The mean of the other strategies."""

from topwork.pipelines.ensemble.pipeline import create_pipeline

__all__ = ["create_pipeline"]
