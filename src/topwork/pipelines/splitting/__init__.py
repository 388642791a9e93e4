"""Near-duplicates, and who is trained on."""

from topwork.pipelines.splitting.pipeline import create_pipeline

__all__ = ["create_pipeline"]
