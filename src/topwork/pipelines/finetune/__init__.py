"""A pretrained network that learns on, under a head that starts as the linear probe."""

from topwork.pipelines.finetune.pipeline import create_pipeline

__all__ = ["create_pipeline"]
