"""Runs the pipelines in parts, each in its own session, so that a failed strategy does not stop the others."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

from topwork.core.columns import TEST
from topwork.core.errors import InputError, StoreLostError
from topwork.core.results import Advice, Candidate, Status, StrategyResult
from topwork.decisions.strategies import STRATEGIES, STRATEGY
from topwork.run.budget import Budget
from topwork.run.failures import told_error
from topwork.run.viz_status import run_status

FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
"""Options of `kedro run` that leave nodes out."""
_SCREENED = {"screen", "kept_shards"}
_FEATURE_NODES = "features."
_TRAINING_NODES = {"fit_probe", "train"}
_LEAST_SECONDS = 1.0
_SLOWEST = 60.0  # images a second that a network answers for at least, on two cores
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
    """The ``pipelines`` and ``strategies`` to run; ``catalog_of`` opens the catalog of a slot (`Candidate.slot`).

    With ``skips`` a strategy is left out if it cannot win according to the advice or to the scores of other strategies.
    With ``chooses`` the run compares several features first, and trains on those that the screen keeps. ``budget`` is
    the time of the run.
    """

    pipelines: tuple[str, ...]
    strategies: tuple[str, ...]
    catalog_of: Callable[[str], DataCatalog]
    skips: bool
    chooses: bool
    budget: Budget


@dataclass(frozen=True)
class _Choice:
    """Features on which strategies are trained: their parameters, and the catalog of the results.

    ``name`` says which features, if there are several.
    """

    given: Mapping[str, Any]
    catalog: DataCatalog
    name: str = ""

    def title(self, strategy: str) -> str:
        return f"{strategy} · {self.name}" if self.name else strategy


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
    parts, failed = plan_parts(selected, plan.strategies), _Failures()
    compared = any(part.strategy is None for part in parts[1:])
    recorded = tracking.one_run(options, keeps_failures=compared)
    with _terminable(), recorded, display.shown(), run_status(selected.nodes):
        run = _Run(options, plan, failed)
        choices = run.choose_features(selected)
        for part in parts:
            if part.strategy is None:
                run.shared_part(part, choices)
            else:
                run.strategy_part(part, choices)
            if compared and part is parts[-2]:
                run.mark_others(choices)
        if failed.by_strategy:
            tracking.note_failed(list(failed.by_strategy))
    display.show_results()
    failed.tell(others=len(parts) > len(failed.by_strategy))


class _Run:
    """The parts of one run, in their order; remembers what has run."""

    def __init__(self, options: Mapping[str, Any], plan: Plan, failed: _Failures) -> None:
        self._options, self._plan, self._failed = options, plan, failed
        self._done: list[StrategyResult] = []
        self._ran = set[tuple[str, str]]()  # strategy and name of the features
        self._finished = set[str]()  # nodes

    def choose_features(self, selected: Pipeline) -> tuple[_Choice, ...]:
        """The features to train on, best first; if there are several candidates, the screen runs now.

        Raises:
            InputError: the screen is not part of this run, and has not compared these features before.

        """
        first = _Choice({}, self._plan.catalog_of(""))
        if not self._plan.chooses:
            return (first,)
        made = {name for node in selected.nodes for name in node.outputs} & _SCREENED
        if made:
            before = tuple(node.name for node in selected.to_outputs(*made).nodes)
            self._session(before, {})
            self._finished |= set(before)
        elif not first.catalog.exists("screen"):
            raise InputError("Several features are given: run `--pipelines ingestion,splitting,screening` first.")
        screen = first.catalog.load("screen")
        return tuple(
            self._choice(each, "" if each is screen.chosen else each.slot) for each in (screen.chosen, *screen.others)
        )

    def shared_part(self, part: Part, choices: Sequence[_Choice]) -> None:
        """Run nodes that belong to no strategy, and compute the features of the other choices."""
        left = tuple(name for name in part.node_names if name not in self._finished)
        self._session(left, choices[0].given)
        for other in choices[1:]:
            self._session(tuple(name for name in left if name.startswith(_FEATURE_NODES)), other.given)

    def strategy_part(self, part: Part, choices: Sequence[_Choice]) -> None:
        """Run a strategy on its choices of features, unless it is left out."""
        assert part.strategy
        for choice in self._choices_for(part.strategy, choices):
            self._ran.add((part.strategy, choice.name))
            title = choice.title(part.strategy)
            if reason := self._why_skip(part.strategy, choice):
                _log.info("%s skipped: %s", title, reason)
                continue
            given, started = {**choice.given, **self._share(part.strategy)}, self._plan.budget.used
            try:
                self._session(part.node_names, given)
            except Exception as error:
                self._failed.note(title, error)
            else:
                self._note_done(choice.catalog.load(f"{part.strategy}.result"), self._plan.budget.used - started)

    def mark_others(self, choices: Sequence[_Choice]) -> None:
        """Mark the results of earlier runs that this run has not replaced."""
        for choice in choices:
            for strategy in STRATEGIES:
                if (strategy, choice.name) not in self._ran:
                    _mark_earlier(choice.catalog, strategy, "not asked for in this run")

    def _choice(self, candidate: Candidate, slot: str) -> _Choice:
        params = self._options["params"]
        features = {**params.get("features", {}), "layers": candidate.layers, "image_size": candidate.image_size}
        given = {"backbone": candidate.backbone, "features": features, **({"slot": slot} if slot else {})}
        return _Choice(given, self._plan.catalog_of(slot), candidate.name)

    def _choices_for(self, strategy: str, choices: Sequence[_Choice]) -> Sequence[_Choice]:
        """Heads are fitted on all choices; a network is trained once, on the features with the best head."""
        if len(choices) == 1 or STRATEGY[strategy].head:
            return choices
        if not STRATEGY[strategy].on_features:
            return choices[:1]
        best = max(
            (each for each in self._done if each.status is Status.OK and STRATEGY[each.strategy].head),
            key=lambda each: each.scores["oof_accuracy"] or 0.0,
            default=None,
        )
        return [each for each in choices if best and each.given.get("slot", "") == best.slot] or choices[:1]

    def _why_skip(self, strategy: str, choice: _Choice) -> str:
        """The reason why the strategy is left out, or an empty text if it runs; it is saved for the leaderboard."""
        if not self._plan.skips:
            return ""
        from topwork.decisions.advisor import why_stop

        reason = self._ruled_out().get(strategy) or why_stop(self._done) or self._why_no_time(strategy)
        if reason and not _mark_earlier(choice.catalog, strategy, f"skipped in this run: {reason}"):
            choice.catalog.save(f"{strategy}.result", StrategyResult(strategy, Status.SKIPPED, reason))
        return reason

    def _ruled_out(self) -> Mapping[str, str]:
        return self._advice.ruled_out if self._advice else {}

    @cached_property
    def _advice(self) -> Advice | None:
        catalog = self._plan.catalog_of("")
        return catalog.load("advice") if catalog.exists("advice") else None

    def _why_no_time(self, strategy: str) -> str:
        """The reason why the strategy cannot end in the time of the run; the first one always runs."""
        budget = self._plan.budget
        if not self._done:
            return ""
        if STRATEGY[strategy].head:
            return budget.why_no_head(self._advice.cost_seconds[strategy] if self._advice else None)
        if budget.for_network(self._networks_left(strategy), self._test_seconds()) == 0.0:
            left = max(0.0, budget.left() or 0.0)
            return f"no time is left for it: {left:.0f} s are too few to train and score a network"
        return ""

    def _share(self, strategy: str) -> Mapping[str, Any]:
        """The minutes of a network, as a parameter of its session."""
        budget = self._plan.budget
        if STRATEGY[strategy].head or budget.seconds is None:
            return {}
        seconds = budget.for_network(self._networks_left(strategy), self._test_seconds()) or _LEAST_SECONDS
        _log.info("%s has %.0f s to train.", strategy, seconds)
        minutes = {"minutes": round(seconds / 60, 2)}
        return {strategy: {**self._options["params"].get(strategy, {}), **minutes}}

    def _networks_left(self, strategy: str) -> int:
        """Number of networks that are still to be trained, this one included."""
        after = self._plan.strategies[self._plan.strategies.index(strategy) :]
        return sum(not STRATEGY[name].head and name not in self._ruled_out() for name in after) or 1

    def _test_seconds(self) -> float:
        """Seconds in which a network answers for the test split, estimated from the speed of the engine."""
        catalog = self._plan.catalog_of("")
        images = int((catalog.load("splits")["split"] == TEST).sum())
        return images / _SLOWEST

    def _note_done(self, result: StrategyResult, seconds: float) -> None:
        self._done.append(result)
        training = sum(value for node, value in result.seconds.items() if node in _TRAINING_NODES)
        self._plan.budget.note_scoring(max(0.0, seconds - training))

    def _session(self, node_names: Sequence[str], given: Mapping[str, Any]) -> None:
        if node_names:
            _run_session({**self._options, "params": {**self._options["params"], **given}}, self._plan, node_names)


class _Failures:
    """Failed strategies with their errors; other failures end the run."""

    def __init__(self) -> None:
        self.by_strategy: dict[str, Exception] = {}

    def note(self, title: str, error: Exception) -> None:
        if isinstance(told_error(error), StoreLostError):
            raise error
        self.by_strategy[title] = error
        if told_error(error) is None:
            _log.error("%s failed", title, exc_info=error)

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


def _mark_earlier(catalog: DataCatalog, strategy: str, why: str) -> bool:
    """Note that the result of the strategy is of an earlier run, if it has one."""
    if not catalog.exists(f"{strategy}.result"):
        return False
    catalog.save(f"{strategy}.result", replace(catalog.load(f"{strategy}.result"), earlier=why))
    return True


def _run_session(options: Mapping[str, Any], plan: Plan, node_names: Sequence[str]) -> None:
    from kedro.framework.session import KedroSession

    runner = load_obj(options["runner"] or "SequentialRunner", "kedro.runner")
    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    with session:
        session.run(
            pipeline_names=list(plan.pipelines),
            runner=runner(is_async=options["is_async"], **options["runner_params"]),
            node_names=tuple(node_names),
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
