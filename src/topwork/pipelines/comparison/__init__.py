"""Compares all strategies."""

from topwork.pipelines.comparison.pipeline import create_pipeline

__all__ = ["create_pipeline"]
