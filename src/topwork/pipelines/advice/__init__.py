"""Which strategy to use, before anything expensive runs."""

from topwork.pipelines.advice.pipeline import create_pipeline

__all__ = ["create_pipeline"]
