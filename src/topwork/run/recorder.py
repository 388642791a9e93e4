"""Writes the MLflow runs of one command: a parent run, and a child run and a logged model for each strategy.

Runs are opened and closed by id, so that several runs in one process do not conflict on MLflow's stack of active runs.
Where several processes share a parent run, one begins it, the others join it, and one ends it.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    LoggedModelInput,
    LoggedModelOutput,
    Metric,
    Param,
    Run,
)
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH

from topwork.core.errors import InputError, StoreLostError
from topwork.core.parameters import flattened
from topwork.core.progress import Measured
from topwork.datasets.logged_runs import STRATEGY_TAG
from topwork.run.failures import is_unreachable
from topwork.run.provenance import HOST, HOST_TAG, is_alive, process_tags, source_tags
from topwork.run.runs_page import missing_tags, runs_page

FAILED_TAG = "topwork.failed_strategies"
BACKBONE_TAG = "topwork.backbone"
_KEY = "topwork.orchestrated_by"
_OPEN = "RUNNING"
_LOCAL_SERVER = "http://127.0.0.1:5000"  # that of `make mlflow`
_log = logging.getLogger(__name__)


class _Client:
    """MLflow's client; after a server has failed to answer once, no more requests are sent to it."""

    def __init__(self) -> None:
        self._client = MlflowClient()
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return partial(self.ask, getattr(self._client, name))

    def ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """The result of the call.

        Raises:
            StoreLostError: the server does not answer.

        """
        if self._is_lost:
            raise StoreLostError
        try:
            return call(*arguments, **named)
        except Exception as error:
            if not is_unreachable(error):
                raise
            self._is_lost = True
            raise StoreLostError from error


class Recorder:
    """Opens, fills and closes MLflow runs; the store is opened with the first request."""

    def __init__(self) -> None:
        self.parent: str | None = None
        self._joined = False
        self._experiment = ""
        self._client: _Client | None = None
        self._children: dict[str, str] = {}
        self._inputs_logged: set[tuple[str, str]] = set()
        self._at_the_end: dict[str, dict[str, float]] = {}

    @property
    def store(self) -> Any:
        """MLflow's client; all requests go through it."""
        if self._client is None:
            self._client = _Client()
        return self._client

    def use(self, experiment: str) -> None:
        """Use the experiment with this id, in the store that MLflow is set to at this time."""
        self._experiment, self._client = experiment, None

    @property
    def page(self) -> str:
        """Address of the table of runs: on the MLflow server, or on the one that `make mlflow` starts."""
        uri = mlflow.get_tracking_uri()
        server = uri.rstrip("/") if uri.startswith(("http://", "https://")) else _LOCAL_SERVER
        return runs_page(server, self._experiment)

    # ---- runs --------------------------------------------------------------------------------------------------

    def run_of(self, strategy: str | None) -> str:
        """Id of the child run of the strategy, or of the parent run if there is no child."""
        return self._children.get(str(strategy)) or str(self.parent)

    def has_child(self, strategy: str) -> bool:
        """Whether a run of the strategy is open."""
        return strategy in self._children

    def open_parent(self, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any], run_file: str) -> None:
        """Open the parent run, inside the user's active run, if any; runs of killed processes are closed first."""
        self._end_orphans()
        self._lay_out()
        outer = mlflow.active_run()
        above = {MLFLOW_PARENT_RUN_ID: outer.info.run_id} if outer else {}
        self.parent = self._create(name, {**tags, **process_tags(), **above})
        self._describe(self.parent, parameters, run_file)

    def begin(self, key: str, name: str, tags: Mapping[str, str], parameters: Mapping[str, Any], run_file: str) -> str:
        """Open a parent run that other processes join, or find the one that was begun with this key; its id.

        It does not name this process, whose end says nothing about the run.
        """
        for run in self._search(f"tags.`{_KEY}` = '{key}'"):
            self._reopen(run)
            return str(run.info.run_id)
        self._lay_out()
        begun = self._create(name, {**tags, **source_tags(), _KEY: key})
        self._describe(begun, parameters, run_file)
        return begun

    def join(self, run: str) -> None:
        """Record in a parent run that another process began, and that `close` then leaves open.

        Raises:
            InputError: the experiment has no such run.

        """
        self._reopen(self._found(run))
        self.parent, self._joined = run, True

    def end(self, run: str, failed: Sequence[str], strategies: Sequence[str]) -> None:
        """Close a parent run that other processes joined: FAILED if parts of it ``failed``, otherwise FINISHED.

        A child run that is still open is that of a killed process. ``strategies`` are those that failed.
        """
        tags = self._found(run).data.tags
        for child in self._children_of(run):
            if child.info.status == _OPEN:
                self.store.set_terminated(child.info.run_id, "FAILED")
        if strategies or FAILED_TAG in tags:  # of an earlier end, after which they were tried again
            self.store.set_tag(run, FAILED_TAG, "+".join(strategies))
        self.store.set_terminated(run, "FAILED" if failed else "FINISHED")

    def open_child(self, strategy: str, features: tuple[str, str], parameters: Mapping[str, Any]) -> None:
        """Open the run of a strategy; ``features`` are its backbone, and their name if the run compares several.

        In a parent run that was joined, a strategy that is tried again goes on in the run that it has.
        """
        backbone, chosen = features
        name = f"{strategy} · {chosen}" if chosen else strategy
        if earlier := self._earlier_child(name):
            self._reopen(earlier, process_tags())
            self._children[strategy] = earlier.info.run_id
            return
        tags = {STRATEGY_TAG: strategy, BACKBONE_TAG: backbone, MLFLOW_PARENT_RUN_ID: str(self.parent)}
        tags |= process_tags()
        self._children[strategy] = self._create(name, tags)
        self._log_params(self._children[strategy], parameters)

    def close_child(self, strategy: str, status: str) -> None:
        """Close the run of one strategy."""
        self._close_child(self._children.pop(strategy), status)

    def close_children(self, status: str) -> None:
        """Close the runs of all strategies."""
        with suppress(StoreLostError):
            for child in self._children.values():
                self._close_child(child, status)
        self._children.clear()
        self._at_the_end.clear()

    def close(self, status: str) -> None:
        """Close the parent run, unless it was joined, and its open child runs."""
        self.close_children(status)
        with suppress(StoreLostError):
            if self.parent and not self._joined:
                self.store.set_terminated(self.parent, status)
        self.parent, self._joined = None, False
        self._inputs_logged.clear()

    def _close_child(self, run: str, status: str) -> None:
        if numbers := self._at_the_end.pop(run, None):
            self.log_metrics(run, numbers)
        self.store.set_terminated(run, status)

    def _lay_out(self) -> None:
        """Give the experiment the tags by which its page opens with the scores."""
        present = self.store.get_experiment(self._experiment).tags
        for name, value in missing_tags(present).items():
            self.store.set_experiment_tag(self._experiment, name, value)

    def _create(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self.store.create_run(self._experiment, tags=dict(tags), run_name=name).info.run_id)

    def _describe(self, run: str, parameters: Mapping[str, Any], run_file: str) -> None:
        self._log_params(run, parameters)
        self.store.log_text(run, run_file, "run.yml")

    def _search(self, condition: str) -> list[Run]:
        return list(self.store.search_runs([self._experiment], condition))

    def _found(self, run: str) -> Run:
        try:
            found: Run = self.store.get_run(run)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            raise InputError(f"MLFLOW_RUN_ID={run}: this MLflow store has no such run.") from None
        if found.info.experiment_id != self._experiment:
            raise InputError(f"MLFLOW_RUN_ID={run}: this run belongs to another experiment.")
        return found

    def _children_of(self, parent: str) -> list[Run]:
        return self._search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}'")

    def _earlier_child(self, name: str) -> Run | None:
        earlier = self._children_of(str(self.parent)) if self._joined else []
        return next((run for run in earlier if run.info.run_name == name), None)

    def _reopen(self, run: Run, tags: Mapping[str, str] | None = None) -> None:
        for name, value in (tags or {}).items():
            self.store.set_tag(run.info.run_id, name, value)
        if run.info.status != _OPEN:
            self.store.update_run(run.info.run_id, _OPEN)

    def _end_orphans(self) -> None:
        """Close the runs of processes on this host that have ended, for example after kill -9."""
        for run in self._search(f"attributes.status = '{_OPEN}' and tags.`{HOST_TAG}` = '{HOST}'"):
            if not is_alive(run.data.tags):
                self.store.set_terminated(run.info.run_id, "KILLED")
                _log.warning("MLflow run %s was left open by a killed process: closed as KILLED.", run.info.run_name)

    # ---- what is recorded --------------------------------------------------------------------------------------

    def log_metrics(self, run: str, values: Mapping[str, float], model: str | None = None, splits: str = "") -> None:
        """Log numbers of a run, and of its logged model; ``splits`` is the digest of the splits that they belong to."""
        now = int(time.time() * 1000)
        of_data = {"dataset_name": "splits", "dataset_digest": splits} if splits else {}
        metrics = [Metric(name, value, now, 0, model_id=model, **of_data) for name, value in values.items()]
        self.store.log_batch(run, metrics)

    def log_at_the_end(self, strategy: str, values: Mapping[str, float]) -> None:
        """Log numbers of a strategy when its run closes: MLflow shows and compares first what was logged first."""
        self._at_the_end.setdefault(self._children[strategy], {}).update(values)

    def note(self, run: str, text: str, model: str | None = None) -> None:
        """Set the description of a run, in Markdown, and that of its logged model."""
        self.store.set_tag(run, MLFLOW_RUN_NOTE, text)
        if model:
            self.store.set_logged_model_tags(model, {MLFLOW_RUN_NOTE: text})

    def link_model(self, run: str, model: str) -> None:
        """Show a logged model, which a child run made, with its parent run too; MLflow refuses a second link."""
        outputs = self.store.get_run(run).outputs
        if model not in {each.model_id for each in (outputs.model_outputs if outputs else [])}:
            self.store.log_outputs(run, [LoggedModelOutput(model, 0)])

    def log_answering(self, name: str, backbone: str, logged_model: Callable[[], str]) -> None:
        """Log once in the parent run which classifier answers, and its logged model if it has one.

        The backbone is that of this classifier, not of the parameters.
        """
        run = str(self.parent)
        if (run, name) in self._inputs_logged:
            return
        self._inputs_logged.add((run, name))
        self.store.set_tag(run, "topwork.model", name)
        self.store.set_tag(run, BACKBONE_TAG, backbone)
        inputs = self.store.get_run(run).inputs
        known = {each.model_id for each in (inputs.model_inputs if inputs else [])}  # of another process of this run
        if (model := logged_model()) and model not in known and self.has_model(model):
            self.store.log_inputs(run, models=[LoggedModelInput(model)])

    def log_point(self, strategy: str, measured: Measured) -> None:
        """Log each number as a point of a curve; commas are removed, because MLflow's names cannot have them."""
        now, model = int(time.time() * 1000), measured.task.partition(", ")[2].replace(" ", "_")
        points = [Metric(f"{model}.{name}", value, now, measured.step) for name, value in measured.values.items()]
        self.store.log_batch(self._children[strategy], points)

    def log_input(self, run: str, name: str, digest: str, table: pd.DataFrame, source: str) -> None:
        """Log a table that the run used, with its digest, once per run."""
        if (run, name) in self._inputs_logged:
            return
        self._inputs_logged.add((run, name))
        profile = json.dumps({"rows": len(table), "classes": int(table["label"].nunique())})
        dataset = Dataset(name, digest, "local", json.dumps({"uri": source}), profile=profile)
        self.store.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

    def log_model(self, strategy: str, folder: Path) -> dict[str, str]:
        """Log the classifier in a folder as model of its strategy; return the ids of the model and the run."""
        from topwork.serving.logged_model import log_classifier

        run = self._children[strategy]
        return {"model_id": str(self.store.ask(log_classifier, strategy, folder, run)), "run_id": run}

    def has_model(self, model: str) -> bool:
        """Whether this store has the logged model with this id."""
        try:
            return bool(self.store.get_logged_model(model))
        except mlflow.MlflowException:
            return False

    def _log_params(self, run: str, parameters: Mapping[str, Any]) -> None:
        flat = {name: str(value)[:MAX_PARAM_VAL_LENGTH] for name, value in flattened(parameters)}
        entries = [Param(name, value) for name, value in flat.items()]
        for start in range(0, len(entries), MAX_PARAMS_TAGS_PER_BATCH):
            self.store.log_batch(run, params=entries[start : start + MAX_PARAMS_TAGS_PER_BATCH])
