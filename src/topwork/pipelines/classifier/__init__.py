"""Linear classifiers on frozen features, one namespace a strategy."""

from topwork.pipelines.classifier.pipeline import create_pipeline

__all__ = ["create_pipeline"]
