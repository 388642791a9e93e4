"""The same evaluation for every strategy."""

from topwork.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
