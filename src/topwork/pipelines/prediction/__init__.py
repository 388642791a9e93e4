"""Predictions for images without labels."""

from topwork.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
