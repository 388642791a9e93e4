"""All strategies side by side."""

from topwork.pipelines.comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
