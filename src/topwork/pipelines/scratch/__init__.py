"""Trains a network from random weights."""

from topwork.pipelines.scratch.pipeline import create_pipeline

__all__ = ["create_pipeline"]
