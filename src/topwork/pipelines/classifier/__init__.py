"""Linear classifiers on frozen features, with one namespace per strategy."""

from topwork.pipelines.classifier.pipeline import create_pipeline

__all__ = ["create_pipeline"]
