"""The project's pipelines: https://docs.kedro.org/en/stable/build/pipeline_registry/."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline

DEFAULT = (
    *("ingestion", "augmentation", "splitting", "screening", "features", "advice"),
    *("classifier", "scratch", "finetune", "ensemble", "distilled", "evaluation", "comparison", "labels", "report"),
)
"""What `kedro run` runs; examples are made by pipelines of their own."""


def register_pipelines() -> dict[str, Pipeline]:
    """Every pipeline by its name, and `__default__`."""
    pipelines = find_pipelines(raise_errors=True)
    known = [pipelines[name] for name in DEFAULT if name in pipelines]
    return {**pipelines, "__default__": sum(known, Pipeline([]))}
