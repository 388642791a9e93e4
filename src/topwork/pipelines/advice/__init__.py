"""Advises which strategy to use, before expensive training."""

from topwork.pipelines.advice.pipeline import create_pipeline

__all__ = ["create_pipeline"]
