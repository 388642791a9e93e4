"""Finds near-duplicates, and splits the images."""

from topwork.pipelines.splitting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
