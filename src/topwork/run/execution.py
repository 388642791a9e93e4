"""Runs the parts of a plan one after the other, on the features that the screen chose and in the time that there is."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from topwork.core.candidates import AUTO, LAST
from topwork.core.errors import InputError
from topwork.core.results import Advice, Candidate, Status, StrategyResult
from topwork.decisions.strategies import STRATEGIES, STRATEGY
from topwork.run.budget import Shares, check_features
from topwork.run.mlflow_settings import run_to_join
from topwork.run.plan import Part, Plan, plan_parts, select_nodes
from topwork.run.preflight import CHOSEN, SLOT
from topwork.run.sessions import Failures, run_session, terminable
from topwork.run.viz_status import run_status

_SCREENED = {"screen", "kept_shards"}
_FEATURE_NODES = "features."
_TRAINING_NODES = {"fit_probe", "train"}
NOT_ASKED, NOT_FINISHED = "not asked for in this run", "not finished in this run"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """Features on which strategies are trained: their parameters, and the catalog of the results.

    ``candidate`` is None if there is nothing to choose.
    """

    given: Mapping[str, Any]
    catalog: DataCatalog
    candidate: Candidate | None = None

    @property
    def slot(self) -> str:
        """Folder of the results (`Candidate.slot`); empty for the features that were chosen first."""
        return str(self.given.get(SLOT, ""))

    @property
    def facts(self) -> dict[str, Any]:
        """Backbone, layers and size, if there are several features."""
        return self.candidate.model_dump(include={"backbone", "layers", "image_size"}) if self.candidate else {}

    def title(self, strategy: str) -> str:
        """The strategy, and the features if there are several."""
        return f"{strategy} · {self.candidate.name}" if self.candidate else strategy


def run_parts(options: Mapping[str, Any], plan: Plan) -> None:
    """Run the parts one after the other, as one run in MLflow.

    Raises:
        InputError: a strategy failed; this is raised after the other parts have run.

    """
    from topwork.run.hooks import display, tracking

    selected = select_nodes(options, plan.pipelines)
    parts, failed = plan_parts(selected, plan.strategies), Failures()
    compared = any(part.strategy is None for part in parts[1:])
    joins = run_to_join() is not None
    recorded = tracking.one_run(options, keeps_failures=compared or joins)  # a later command compares
    with terminable(), recorded, display.shown(), run_status(selected.nodes), plan.concurrency.at_work():
        run = _Run(options, plan, failed)
        if joins:
            run.note_cheaper(parts)
        choices = run.choose_features(selected)
        for part in parts:
            if part.strategy is None:
                run.shared_part(part, choices)
            else:
                if compared and STRATEGY[part.strategy].combines:  # which is made of what this run has asked for
                    run.mark_others(choices)
                run.strategy_part(part, choices)
            if compared and part is parts[-2]:
                run.mark_others(choices)
        run.end()
        if failed.by_strategy:
            tracking.note_failed(list(failed.by_strategy))
    display.show_results(tracking.page)
    failed.tell(others=len(parts) > len(failed.by_strategy))


class _Run:
    """The parts of one run, in their order; remembers what has run."""

    def __init__(self, options: Mapping[str, Any], plan: Plan, failed: Failures) -> None:
        self._options, self._plan, self._failed = options, plan, failed
        self._catalog = plan.catalog_of("")
        self._shares = Shares(plan.budget, self._catalog, options)
        self._done: list[StrategyResult] = []
        self._ran = set[tuple[str, str]]()  # strategy and slot
        self._finished = set[str]()  # nodes

    def note_cheaper(self, parts: Sequence[Part]) -> None:
        """Note the results of cheaper strategies, which other commands of this run have left."""
        first = min((STRATEGIES.index(part.strategy) for part in parts if part.strategy), default=0)
        results = (self._catalog.load(f"{name}.result") for name in STRATEGIES[:first])
        self._done = [each for each in results if each.status is Status.OK and not each.earlier]

    def choose_features(self, selected: Pipeline) -> tuple[Choice, ...]:
        """The features to train on, best first; if there are several candidates, the screen runs now.

        Raises:
            InputError: the screen is not part of this run, and has not compared these features before; or the time of
                the run is too short for the features.

        """
        if self._plan.budget.seconds is not None:
            keys = {"duplicate_key"} if self._plan.candidates else {"duplicate_key", "feature_key"}
            check_features(self._plan.budget, self._catalog, self._until(selected, {"manifest", *keys}) & keys)
        if not self._plan.candidates:
            return (Choice({}, self._catalog),)
        self._until(selected, _SCREENED)
        screen = self._catalog.load("screen") if self._catalog.exists("screen") else None
        if screen is None or _told(screen.candidates) != _told(self._plan.candidates):
            raise InputError("These features were not compared: run `--pipelines ingestion,splitting,screening` first.")
        others = (self._choice(each, each.slot) for each in screen.others)
        return (self._choice(screen.chosen, ""), *others)

    def shared_part(self, part: Part, choices: Sequence[Choice]) -> None:
        """Run nodes that belong to no strategy, and compute the features of the other choices."""
        left = [name for name in part.node_names if name not in self._finished]
        self._session(left, choices[0].given)
        for other in choices[1:]:
            self._session([name for name in left if name.startswith(_FEATURE_NODES)], other.given)

    def strategy_part(self, part: Part, choices: Sequence[Choice]) -> None:
        """Run a strategy on its choices of features, unless it is left out."""
        from topwork.run.hooks import display

        assert part.strategy
        for choice in self._choices_for(part.strategy, choices):
            self._ran.add((part.strategy, choice.slot))
            title = choice.title(part.strategy)
            if reason := self._why_skip(part.strategy):
                _log.info("%s skipped: %s", title, reason)
                if not mark_earlier(choice.catalog, part.strategy, f"skipped in this run: {reason}"):
                    skipped = StrategyResult(part.strategy, Status.SKIPPED, reason, **choice.facts)
                    choice.catalog.save(f"{part.strategy}.result", skipped)
                continue
            display.titled(title)
            share, started = self._share(part.strategy), self._plan.budget.used
            try:
                self._session(part.node_names, {**choice.given, **share})
            except Exception as error:
                self._failed.note(title, error)
            else:
                self._note(choice.catalog.load(f"{part.strategy}.result"), self._plan.budget.used - started)

    def mark_others(self, choices: Sequence[Choice]) -> None:
        """Mark the results of earlier runs that this run has not replaced, also those on other features."""
        catalogs = {choice.slot: choice.catalog for choice in choices}
        kept = self._catalog.load("screen").others if self._catalog.exists("screen") else ()
        catalogs |= {each.slot: self._plan.catalog_of(each.slot) for each in kept if each.slot not in catalogs}
        for slot, catalog in catalogs.items():
            for strategy in STRATEGIES:
                if (strategy, slot) not in self._ran and not self._is_to_come(strategy):
                    mark_earlier(catalog, strategy, NOT_ASKED)

    def _is_to_come(self, strategy: str) -> bool:
        return strategy in self._plan.strategies and not any(strategy == ran for ran, _ in self._ran)

    def end(self) -> None:
        """Forget what is needed only to continue this run."""
        self._shares.forget()

    def _choice(self, candidate: Candidate, slot: str) -> Choice:
        params = self._options["params"]
        chosen = candidate.model_dump(include={"layers", "image_size", "fit"})
        given = {"backbone": candidate.backbone, "features": {**params.get("features", {}), **chosen}}
        given |= {CHOSEN: candidate.name} | ({"fit": candidate.fit} if params.get("fit") == AUTO else {})
        given |= {SLOT: slot} if slot else {}
        return Choice(given, self._plan.catalog_of(slot), candidate)

    def _choices_for(self, strategy: str, choices: Sequence[Choice]) -> Sequence[Choice]:
        """Heads are fitted on all choices, a network is trained once, and what is made of all is made once."""
        if len(choices) == 1 or STRATEGY[strategy].head:
            return choices
        if not STRATEGY[strategy].on_features:
            return choices[:1]
        heads = [each for each in self._done if each.status is Status.OK and STRATEGY[each.strategy].head]
        best = max(heads, key=lambda each: each.scores.get("oof_accuracy") or 0.0, default=None)
        return [choice_for_network(choices, best.slot if best else "")]

    def _why_skip(self, strategy: str) -> str:
        """The reason why the strategy is left out, or an empty text if it runs."""
        from topwork.decisions.advisor import why_stop

        reason = (self._ruled_out().get(strategy) or why_stop(self._done)) if self._plan.skips else ""
        if reason or not self._done:  # the first one always runs
            return reason
        if not STRATEGY[strategy].trains_network:
            advice = self._advice()
            return self._shares.why_no_head(advice.cost_seconds.get(strategy) if advice else None)
        return self._shares.why_no_network(self._networks_left(strategy), partial(self._epoch_seconds, strategy))

    def _epoch_seconds(self, strategy: str, images_per_second: float) -> float:
        """Seconds of one epoch of all models of a network, roughly."""
        advice = self._advice()
        models = 1 + int(self._plan.parameters[strategy]["folds"])
        return models * STRATEGY[strategy].epoch(advice.evidence, images_per_second) if advice else 0.0

    def _advice(self) -> Advice | None:
        return self._catalog.load("advice") if self._catalog.exists("advice") else None

    def _ruled_out(self) -> Mapping[str, str]:
        advice = self._advice()
        return advice.ruled_out if advice else {}

    def _share(self, strategy: str) -> Mapping[str, Any]:
        """The minutes of a network, as a parameter of its session."""
        if not STRATEGY[strategy].trains_network or self._plan.budget.seconds is None:
            return {}
        of_block = self._options["params"].get(strategy, {})
        given = float(of_block.get("minutes") or math.inf)
        minutes = min(given, self._shares.minutes_for(strategy, self._networks_left(strategy)))
        _log.info("%s has %.1f minutes to train.", strategy, minutes)
        return {strategy: {**of_block, "minutes": minutes}}

    def _networks_left(self, strategy: str) -> int:
        """Number of networks that are still to be trained, this one included."""
        after = self._plan.strategies[self._plan.strategies.index(strategy) :]
        out = self._ruled_out() if self._plan.skips else {}
        return sum(STRATEGY[name].trains_network and name not in out for name in after) or 1

    def _note(self, result: StrategyResult, seconds: float) -> None:
        self._done.append(result)
        training = sum(value for node, value in result.seconds.items() if node in _TRAINING_NODES)
        self._plan.budget.note_scoring(max(0.0, seconds - training))

    def _until(self, selected: Pipeline, datasets: set[str]) -> set[str]:
        """Run what makes these datasets, as far as it is part of the run; the datasets that were made."""
        made = {name for node in selected.nodes for name in node.outputs} & datasets
        needed = [node.name for node in selected.to_outputs(*made).nodes] if made else []
        self._session([name for name in needed if name not in self._finished], {})
        self._finished |= set(needed)
        return made

    def _session(self, node_names: Sequence[str], given: Mapping[str, Any]) -> None:
        if node_names:
            options = {**self._options, "params": {**self._options["params"], **given}}
            run_session(options, self._plan.pipelines, node_names)


def _told(candidates: Sequence[Candidate]) -> set[tuple[str, str]]:
    return {(each.backbone, each.layers) for each in candidates}


def choice_for_network(choices: Sequence[Choice], slot: str) -> Choice:
    """The features on which a network is trained: of the backbone with the best head, whose results are in ``slot``.

    It is trained from the last layer on, where that was kept, because frozen layers are then computed once; and at the
    smallest size that was kept, because the images hold no more than that and it does more epochs in the same time.
    """
    candidates = {choice.slot: choice.candidate for choice in choices if choice.candidate}
    best = candidates[slot] if slot in candidates else choices[0].candidate
    assert best

    def worth(choice: Choice) -> tuple[bool, bool, int]:
        mine = candidates[choice.slot]
        return mine.layers != LAST, mine.layers != best.layers, mine.image_size or 0

    return min((each for each in choices if candidates[each.slot].backbone == best.backbone), key=worth)


def mark_begun(catalog: DataCatalog, strategies: Sequence[str]) -> None:
    """Mark all results as those of an earlier run, until the commands of this run replace them."""
    for name in STRATEGIES:
        asked = name in strategies
        if not mark_earlier(catalog, name, NOT_FINISHED if asked else NOT_ASKED) and asked:
            catalog.save(f"{name}.result", StrategyResult(name, Status.NOT_RUN))


def mark_earlier(catalog: DataCatalog, strategy: str, why: str) -> bool:
    """Note that the result of the strategy is of an earlier run, if it has one."""
    if not catalog.exists(f"{strategy}.result"):
        return False
    catalog.save(f"{strategy}.result", replace(catalog.load(f"{strategy}.result"), earlier=why))
    return True
