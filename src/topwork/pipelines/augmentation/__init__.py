"""Augmented views: the table of their random parameters, and a contact sheet."""

from topwork.pipelines.augmentation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
