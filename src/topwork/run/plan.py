"""Runs the pipelines in parts, each in its own session, so that a failed strategy does not stop the others."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from topwork.core.errors import InputError, StoreLostError
from topwork.core.results import Status, StrategyResult
from topwork.decisions.strategies import STRATEGIES
from topwork.run.failures import told_error
from topwork.run.viz_status import run_status

FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
"""Options of `kedro run` that leave nodes out."""
_log = logging.getLogger(__name__)


class Terminated(KeyboardInterrupt):
    """Raised on SIGTERM, which ends a run like Ctrl-C."""


@dataclass(frozen=True)
class Part:
    """Nodes that run in one session; ``strategy`` is their strategy, or None if they do not belong to one."""

    strategy: str | None
    node_names: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The ``pipelines`` and ``strategies`` to run; ``catalog`` gives access to existing results.

    With ``skips`` a strategy is left out if it cannot win according to the advice or to the scores of other strategies.
    """

    pipelines: tuple[str, ...]
    strategies: tuple[str, ...]
    catalog: DataCatalog
    skips: bool


def plan_parts(pipeline: Pipeline, strategies: Sequence[str]) -> list[Part]:
    """The parts of the pipeline: before the strategies, each chosen strategy, and after the strategies."""
    of_strategy = {name: [node for node in pipeline.nodes if node.namespace == name] for name in STRATEGIES}
    every = [node.name for nodes in of_strategy.values() for node in nodes]
    after = {node.name for node in pipeline.from_nodes(*every).nodes} - set(every) if every else set()
    first = [node.name for node in pipeline.nodes if node.name not in after and node.name not in every]
    last = [node.name for node in pipeline.nodes if node.name in after]
    middle = [Part(name, tuple(node.name for node in of_strategy[name])) for name in strategies]
    return [part for part in (Part(None, tuple(first)), *middle, Part(None, tuple(last))) if part.node_names]


def run_parts(options: Mapping[str, Any], plan: Plan) -> None:
    """Run the parts one after the other, as one run in MLflow.

    Raises:
        InputError: a strategy failed; this is raised after the other parts have run.

    """
    from topwork.run.hooks import display, tracking

    selected = _selected(options, plan.pipelines)
    parts, done, failed = plan_parts(selected, plan.strategies), list[str](), _Failures()
    compared = any(part.strategy is None for part in parts[1:])
    recorded = tracking.one_run(options, keeps_failures=compared)
    with _terminable(), recorded, display.shown(), run_status(selected.nodes):
        for strategy in set(STRATEGIES) - set(plan.strategies) if compared else ():
            _mark_earlier(plan.catalog, strategy, "not asked for in this run")
        for part in parts:
            if part.strategy and (reason := _why_skip(plan, part.strategy, done)):
                _log.info("%s skipped: %s", part.strategy, reason)
                continue
            try:
                _run_part(options, plan.pipelines, part)
            except Exception as error:
                failed.note(part, error)
            else:
                done += [part.strategy] if part.strategy else []
        if failed.by_strategy:
            tracking.note_failed(list(failed.by_strategy))
    display.show_results()
    failed.tell(others=len(parts) > len(failed.by_strategy))


class _Failures:
    """Failed strategies with their errors; other failures end the run."""

    def __init__(self) -> None:
        self.by_strategy: dict[str, Exception] = {}

    def note(self, part: Part, error: Exception) -> None:
        if part.strategy is None or isinstance(told_error(error), StoreLostError):
            raise error
        self.by_strategy[part.strategy] = error
        if told_error(error) is None:
            _log.error("%s failed", part.strategy, exc_info=error)

    def tell(self, *, others: bool) -> None:
        if not self.by_strategy:
            return
        reasons = [
            f"{name} failed: {str(told_error(error) or error).rstrip('.')}." for name, error in self.by_strategy.items()
        ]
        raise InputError(" ".join([*reasons, *(["What else was asked for is finished."] if others else [])]))


def _selected(options: Mapping[str, Any], names: Sequence[str]) -> Pipeline:
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


def _why_skip(plan: Plan, strategy: str, done: Sequence[str]) -> str:
    """The reason why the strategy is left out, or an empty text if it runs; it is saved for the leaderboard."""
    if not plan.skips:
        return ""
    from topwork.decisions.advisor import why_stop

    ruled_out = plan.catalog.load("advice").ruled_out if plan.catalog.exists("advice") else {}
    reason = ruled_out.get(strategy) or why_stop([plan.catalog.load(f"{name}.result") for name in done])
    if reason and not _mark_earlier(plan.catalog, strategy, f"skipped in this run: {reason}"):
        plan.catalog.save(f"{strategy}.result", StrategyResult(strategy, Status.SKIPPED, reason))
    return reason


def _mark_earlier(catalog: DataCatalog, strategy: str, why: str) -> bool:
    """Note that the result of the strategy is of an earlier run, if it has one."""
    if not catalog.exists(f"{strategy}.result"):
        return False
    catalog.save(f"{strategy}.result", replace(catalog.load(f"{strategy}.result"), earlier=why))
    return True


def _run_part(options: Mapping[str, Any], names: Sequence[str], part: Part) -> None:
    from kedro.framework.session import KedroSession

    runner = load_obj(options["runner"] or "SequentialRunner", "kedro.runner")
    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    with session:
        session.run(
            pipeline_names=list(names),
            runner=runner(is_async=options["is_async"], **options["runner_params"]),
            node_names=part.node_names,
            load_versions=options["load_versions"],
            only_missing_outputs=options["only_missing_outputs"],
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """A context in which SIGTERM acts like Ctrl-C, so that the MLflow run is closed."""

    def stop(*_: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
