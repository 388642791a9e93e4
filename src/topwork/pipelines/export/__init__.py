"""Exports a classifier for other runtimes, if the export gives the same answers."""

from topwork.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
