"""Chooses the features if the run names several backbones, layers, image sizes or fits."""

from topwork.pipelines.screening.pipeline import create_pipeline

__all__ = ["create_pipeline"]
