"""Digests and features of images without labels, for labelling and monitoring."""

from topwork.pipelines.description.pipeline import create_pipeline

__all__ = ["create_pipeline"]
