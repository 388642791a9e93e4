"""A classifier for other runtimes, let out only if it answers as it was trained to."""

from topwork.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
