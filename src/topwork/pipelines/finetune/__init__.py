"""Trains a pretrained network further, with a head that starts as the linear probe."""

from topwork.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
