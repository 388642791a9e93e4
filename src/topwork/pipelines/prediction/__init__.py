"""Answers for images that nobody has labelled."""

from topwork.pipelines.prediction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
