"""Writes all results as one page."""

from topwork.pipelines.report.pipeline import create_pipeline

__all__ = ["create_pipeline"]
