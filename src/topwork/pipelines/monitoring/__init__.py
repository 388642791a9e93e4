"""Tests whether new images come from the distribution that was learnt."""

from topwork.pipelines.monitoring.pipeline import create_pipeline

__all__ = ["create_pipeline"]
