"""What a run does: its nodes, in parts of one session each, so that a failed strategy does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from topwork.core.errors import InputError
from topwork.core.results import Candidate
from topwork.decisions.strategies import STRATEGIES
from topwork.run.budget import Budget
from topwork.run.concurrency import Concurrency

FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
"""Options of `kedro run` that leave nodes out."""


@dataclass(frozen=True)
class Part:
    """Nodes that run in one session; ``strategy`` is their strategy, or None if they do not belong to one."""

    strategy: str | None
    node_names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The ``pipelines`` and ``strategies`` to run; ``catalog_of`` opens the catalog of a slot (`Candidate.slot`).

    With ``skips`` a strategy is left out if it cannot win according to the advice or to the scores of other strategies.
    ``parameters`` are the parameter blocks. If there are ``candidates``, the run compares these features first (and
    those of other image sizes and fits, with `image_size=auto` and `fit=auto`), and trains on those that the screen
    keeps. ``budget`` is the time of the run. ``concurrency`` says which other processes work for it.
    """

    pipelines: tuple[str, ...]
    strategies: tuple[str, ...]
    catalog_of: Callable[[str], DataCatalog]
    skips: bool
    parameters: Mapping[str, Any]
    candidates: tuple[Candidate, ...]
    budget: Budget
    concurrency: Concurrency


def plan_parts(pipeline: Pipeline, strategies: Sequence[str]) -> list[Part]:
    """The parts of the pipeline: before the strategies, each chosen strategy, and after the strategies."""
    of_strategy = {name: [node for node in pipeline.nodes if node.namespace == name] for name in STRATEGIES}
    every = [node.name for nodes in of_strategy.values() for node in nodes]
    after = {node.name for node in pipeline.from_nodes(*every).nodes} - set(every) if every else set()
    first = [node.name for node in pipeline.nodes if node.name not in after and node.name not in every]
    last = [node.name for node in pipeline.nodes if node.name in after]
    middle = [Part(name, tuple(node.name for node in of_strategy[name])) for name in strategies]
    return [part for part in (Part(None, tuple(first)), *middle, Part(None, tuple(last))) if part.node_names]


def select_nodes(options: Mapping[str, Any], names: Sequence[str]) -> Pipeline:
    """The nodes of the pipelines that the filter options select."""
    from kedro.framework.project import pipelines

    pipelines.set_requested(list(names))
    filters = {("node_namespaces" if name == "namespaces" else name): options[name] or None for name in FILTERS}
    try:
        return sum((pipelines[name] for name in names), Pipeline([])).filter(**filters)
    except ValueError as error:
        known = sorted({node.namespace for name in names for node in pipelines[name].nodes if node.namespace})
        raise InputError(
            f"{str(error).rstrip('.')}. The namespaces of what is asked for are {', '.join(known)}; a comma joins "
            "several."
        ) from error
