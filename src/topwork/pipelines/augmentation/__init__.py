"""Augmented views: the table of what is drawn, and a sheet that shows it."""

from topwork.pipelines.augmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
