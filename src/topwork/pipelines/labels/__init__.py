"""Finds labels that are probably wrong."""

from topwork.pipelines.labels.pipeline import create_pipeline

__all__ = ["create_pipeline"]
