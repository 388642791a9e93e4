"""Bottleneck features of every usable image, from the cache or computed."""

from topwork.pipelines.features.pipeline import create_pipeline

__all__ = ["create_pipeline"]
