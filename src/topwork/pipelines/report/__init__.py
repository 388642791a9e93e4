"""All that was found, as one page to read."""

from topwork.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
