"""Chooses the images to label next."""

from topwork.pipelines.labelling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
