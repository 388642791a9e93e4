"""The worked example: scikit-learn's handwritten digits as a folder of images."""

from topwork.pipelines.digits.pipeline import create_pipeline

__all__ = ["create_pipeline"]
