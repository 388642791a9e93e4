"""Chooses the features if the run names several backbones, layers or image sizes."""

from topwork.pipelines.screening.pipeline import create_pipeline

__all__ = ["create_pipeline"]
