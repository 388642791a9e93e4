"""A small network that learns from the answers of the best other strategy."""

from topwork.pipelines.distilled.pipeline import create_pipeline

__all__ = ["create_pipeline"]
