"""Every run in MLflow: a parent for the command, a child and a logged model for each strategy.

Nodes know nothing of it: the hooks record what the catalog loads and saves. Runs are opened and closed by id, so that
several runs in one process do not meet on MLflow's stack of active runs.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import yaml
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH
from pydantic import BaseModel

from topwork.core.digests import manifest_digest, split_digest
from topwork.core.parameters import flattened
from topwork.core.progress import Measured
from topwork.core.results import Champion, Status, StrategyResult
from topwork.datasets.mlflow_store import check_server, sole_maker, sqlite_uri
from topwork.datasets.strategy_result import as_json
from topwork.decisions.strategies import STRATEGIES
from topwork.run.failures import StoreLostError, input_error, is_unreachable
from topwork.run.preflight import FOLDERS, check_parameters, check_runner, knob_names
from topwork.run.provenance import HOST, HOST_TAG, code_tags, is_alive, process_tags

logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # it sets itself to INFO when imported
_log = logging.getLogger(__name__)
_DATASETS = {"manifest": manifest_digest, "splits": split_digest}
_FEW_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_RUN_OPTIONS = ("env", "tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")


class _Curves(logging.Handler):
    """Passes on what is measured while a node runs: the epochs of a training."""

    def __init__(self, log: Callable[[Measured], None]) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one event on."""
        if measured := getattr(record, "measured", None):
            self._log(measured)


class _Store:
    """MLflow's client; a server that does not answer any more is asked no further."""

    def __init__(self) -> None:
        self._client = MlflowClient()
        self._is_lost = False

    def __getattr__(self, name: str) -> Any:
        return partial(self.ask, getattr(self._client, name))

    def ask(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """What the call gives.

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


class RunTracking(MlflowHook):
    """Stands in for kedro-mlflow's hook, whose configuration it keeps: one parent run, however many sessions."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.RLock()
        self._client: _Store | None = None
        self._context: KedroContext | None = None
        self._parameters: dict[str, Any] = {}
        self._catalog: Any = None
        self._held = False
        self._command: dict[str, Any] = {}
        self._parent: str | None = None
        self._children: dict[str, str] = {}
        self._inputs_logged: set[tuple[str, str]] = set()
        self._node_started: dict[str, float] = {}
        self._namespace: str | None = None
        self._failed: list[str] = []
        self._keeps_failures = True
        self._curves = _Curves(self._log_curve)

    # ---- the command -------------------------------------------------------------------------------------------

    @contextmanager
    def one_run(self, command: Mapping[str, Any], *, keeps_failures: bool) -> Iterator[None]:
        """Record all sessions inside as one MLflow run: FINISHED, FAILED, or KILLED if it is interrupted.

        Args:
            command: the options of the `run` command, for `run.yml`.
            keeps_failures: whether a strategy that fails says so in its metrics, for the leaderboard to come; else
                those of its last run stay.

        """
        self._held, self._command, self._failed = True, dict(command), []
        self._keeps_failures = keeps_failures
        try:
            yield
        except KeyboardInterrupt:
            self._close("KILLED")
            raise
        except BaseException:
            self._close("FAILED")
            raise
        else:
            self._close("FAILED" if self._failed else "FINISHED")
        finally:
            self._held, self._command, self._keeps_failures = False, {}, True

    def note_failed(self, strategies: list[str]) -> None:
        """Say on the run which strategies failed; it ends as FAILED."""
        self._failed = strategies
        if self._parent:
            self._store.set_tag(self._parent, "topwork.failed_strategies", "+".join(strategies))

    # ---- hooks -------------------------------------------------------------------------------------------------

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Settle where the store is; refuse parameters that nothing reads."""
        loader = context.config_loader
        self._parameters = dict(loader["parameters"])  # the context's own hold Kedro's typed models
        check_parameters(loader.runtime_params or {}, self._parameters, knob_names(Path(loader.conf_source)))
        loader["mlflow"] = settled(dict(loader["mlflow"]), context.project_path)
        uri = loader["mlflow"]["server"]["mlflow_tracking_uri"]
        check_server(uri)
        for name, value in _FEW_RETRIES.items():
            os.environ.setdefault(name, value)
        with sole_maker(uri):
            super().after_context_created(context)
        self._context = context
        self._client = None  # the store is opened with the first node

    @hook_impl
    def after_catalog_created(self) -> None:
        """Nothing: kedro-mlflow would build every dataset here."""

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Refuse runners that cannot be tracked. The MLflow run is opened by the first node: no node, no run."""
        check_runner(str(run_params["runner"]))
        if not self._held:
            self._close("KILLED")  # what an interrupted session of this process left: Kedro fires no hook on Ctrl-C
        self._catalog = catalog
        observed = logging.getLogger("topwork.core.progress")
        observed.setLevel(logging.INFO)
        observed.addHandler(self._curves)  # once, however often it is added
        if not self._command:
            self._command = dict(run_params)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Remember at what the run is, in case it fails there."""
        self._namespace = node.namespace

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Open the runs that this node belongs to, and start its clock."""
        with self._lock:
            self._open_parent()
            if node.namespace in STRATEGIES:
                self._open_child(node.namespace)
            self._node_started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Node, catalog: Any) -> None:
        """Keep how long the nodes of a strategy took; they have no clock of their own."""
        seconds = time.perf_counter() - self._node_started.pop(node.name)
        if node.namespace in STRATEGIES:
            name = f"{node.namespace}.timings"
            catalog.save(name, {**catalog.load(name), node.short_name: seconds})
            self._log_metrics(self._children[node.namespace], {f"{node.short_name}_seconds": seconds})

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Name the data that the run used, by digest; a node's first load comes before its run is open."""
        if dataset_name in _DATASETS:
            with self._lock:
                self._open_parent()
                if node.namespace in STRATEGIES:
                    self._open_child(node.namespace)
                self._log_input(self._run_of(node), dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Record what was made: datasets by digest, metrics, figures, tables, the model."""
        run, dataset = self._run_of(node), self._catalog[dataset_name]
        file = f"{dataset_name.rsplit('.', maxsplit=1)[-1]}.json"
        match (dataset.metadata or {}).get("mlflow"):
            case "input":
                self._log_input(run, dataset_name, data)
            case "model":
                self._log_model(str(node.namespace))
            case "artifact":
                for path in dataset.artifacts:
                    self._store.log_artifact(run, str(path))
            case "table":
                self._store.log_table(run, data, file)
            case "json":
                self._store.log_dict(run, _as_json(data), file)
            case "metrics" if isinstance(data, StrategyResult):
                self._log_metrics(run, data.numbers(), self._model_of(data.strategy))
                self._store.log_dict(run, _as_json(data), "metrics.json")
            case "metrics":
                self._log_metrics(run, data.numbers())
                self._store.log_dict(run, _as_json(data), file)
                if isinstance(data, Champion) and data.strategy:
                    self._store.set_tag(run, "topwork.champion", data.strategy)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the children, and the parent unless more sessions belong to it."""
        self._close_children("FINISHED")
        if not self._held:
            self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Close what failed as FAILED; a strategy that failed says so in its metrics."""
        strategy = self._namespace
        if strategy in STRATEGIES:
            if self._keeps_failures:
                told = str(input_error(error) or error).strip() or type(error).__name__
                reason = told.splitlines()[0].rstrip(".")
                catalog.save(f"{strategy}.result", StrategyResult(strategy, Status.FAILED, reason))
            with suppress(StoreLostError):
                self._open_parent()
                self._open_child(strategy)
                self._store.set_terminated(self._children.pop(strategy), "FAILED")
        self._close_children("FINISHED")
        if not self._held:
            self._close("FAILED")

    # ---- runs --------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Any:
        """The client, through which all requests go."""
        if self._client is None:
            self._client = _Store()
        return self._client

    def _run_of(self, node: Node) -> str:
        return self._children.get(str(node.namespace)) or str(self._parent)

    def _open_parent(self) -> None:
        if self._parent or self._context is None:
            return
        self._end_orphans()
        outer = mlflow.active_run()
        tags = {
            **process_tags(),
            **code_tags(self._context.project_path),
            **({MLFLOW_PARENT_RUN_ID: outer.info.run_id} if outer else {}),
        }
        self._parent = self._create(
            f"{_images_source(self._context).name} · {self._parameters['features']['backbone']}", tags
        )
        self._log_params(self._parent, self._resolved())
        self._store.log_text(
            self._parent, _run_file(self._command, self._resolved(), self._context.project_path), "run.yml"
        )

    def _open_child(self, strategy: str) -> None:
        if strategy in self._children or self._context is None:
            return
        tags = {**process_tags(), MLFLOW_PARENT_RUN_ID: str(self._parent), "topwork.strategy": strategy}
        self._children[strategy] = self._create(strategy, tags)
        others = set(STRATEGIES) - {strategy}
        own = {name: value for name, value in self._resolved().items() if name not in others}
        self._log_params(self._children[strategy], own)

    def _resolved(self) -> dict[str, Any]:
        """The headline knobs as they were, then the blocks: the same names for every run."""
        assert self._context is not None
        loader = self._context.config_loader
        knobs = {**loader["globals"], **(loader.runtime_params or {})}
        return {**{name: knobs[name] for name in loader["globals"]}, **self._parameters}

    def _create(self, name: str, tags: dict[str, str]) -> str:
        experiment = self.mlflow_config.tracking.experiment._experiment.experiment_id
        return str(self._store.create_run(experiment, tags=tags, run_name=name).info.run_id)

    def _close(self, status: str) -> None:
        self._close_children(status)
        with suppress(StoreLostError):
            if self._parent:
                self._store.set_terminated(self._parent, status)
        self._parent = None
        self._inputs_logged.clear()
        self._node_started.clear()
        if not self._held:
            self._command = {}

    def _close_children(self, status: str) -> None:
        with suppress(StoreLostError):
            for child in self._children.values():
                self._store.set_terminated(child, status)
        self._children.clear()

    def _end_orphans(self) -> None:
        """Close the runs of processes on this host that are no more: after kill -9 nobody else would."""
        experiment = self.mlflow_config.tracking.experiment._experiment.experiment_id
        running = f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{HOST}'"
        for run in self._store.search_runs([experiment], running):
            if not is_alive(run.data.tags):
                self._store.set_terminated(run.info.run_id, "KILLED")
                _log.warning("MLflow run %s was left open by a killed process: closed as KILLED.", run.info.run_name)

    # ---- what is recorded --------------------------------------------------------------------------------------

    def _log_params(self, run: str, parameters: Mapping[str, Any]) -> None:
        flat = {name: str(value)[:MAX_PARAM_VAL_LENGTH] for name, value in flattened(parameters)}
        entries = [Param(name, value) for name, value in flat.items()]
        for start in range(0, len(entries), MAX_PARAMS_TAGS_PER_BATCH):
            self._store.log_batch(run, params=entries[start : start + MAX_PARAMS_TAGS_PER_BATCH])

    def _log_metrics(self, run: str, values: Mapping[str, Any], model: str | None = None) -> None:
        now = int(time.time() * 1000)
        numbers = {name: float(value) for name, value in values.items() if isinstance(value, int | float)}
        self._store.log_batch(run, [Metric(name, value, now, 0, model_id=model) for name, value in numbers.items()])

    def _log_curve(self, measured: Measured) -> None:
        """A point for each number, on the child that trains; MLflow's names have no commas."""
        child = self._children.get(str(self._namespace))
        if child:
            now, model = int(time.time() * 1000), measured.task.partition(", ")[2].replace(" ", "_")
            points = [Metric(f"{model}.{name}", value, now, measured.step) for name, value in measured.values.items()]
            self._store.log_batch(child, points)

    def _model_of(self, strategy: str) -> str | None:
        """Id of the strategy's logged model; logged again where this store does not have it."""
        model = self._catalog.load(f"{strategy}.logged_model").get("model_id")
        try:
            if model and self._store.get_logged_model(model):
                return str(model)
        except mlflow.MlflowException:
            _log.info("%s: its logged model is not in this MLflow store; logged again.", strategy)
        return self._log_model(strategy)

    def _log_model(self, strategy: str) -> str:
        from topwork.serving.logged_model import log_classifier

        run, folder = self._children[strategy], self._catalog[f"{strategy}.classifier"].folder
        model = str(self._store.ask(log_classifier, strategy, folder, run))
        self._catalog.save(f"{strategy}.logged_model", {"model_id": model, "run_id": run})
        return model

    def _log_input(self, run: str, name: str, table: pd.DataFrame) -> None:
        if (run, name) in self._inputs_logged:
            return
        self._inputs_logged.add((run, name))
        source = json.dumps({"uri": str(_images_source(self._context))})
        profile = json.dumps({"rows": len(table), "classes": int(table["label"].nunique())})
        dataset = Dataset(name, _DATASETS[name](table), "local", source, profile=profile)
        self._store.log_inputs(run, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])


def _as_json(data: Any) -> Any:
    """A result as its file holds it."""
    if isinstance(data, StrategyResult):
        return as_json(data)
    return data.model_dump(mode="json") if isinstance(data, BaseModel) else data


def settled(configuration: dict[str, Any], project: Path) -> dict[str, Any]:
    """`mlflow.yml` with its local paths made absolute, or the server of the environment variable in its place."""
    server = {**configuration["server"]}
    experiment = {**configuration["tracking"]["experiment"]}
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        server["mlflow_tracking_uri"] = uri
    uri = server["mlflow_tracking_uri"]
    if uri.startswith("sqlite:///") and not uri.startswith("sqlite:////"):
        server["mlflow_tracking_uri"] = sqlite_uri(project / uri.removeprefix("sqlite:///"))
    creation = {**experiment.get("create_experiment_kwargs", {})}
    if uri.startswith(("http:", "https:", "databricks")):
        creation.pop("artifact_location", None)  # the server knows where
    elif "://" not in creation.get("artifact_location", "://"):
        creation["artifact_location"] = (project / creation["artifact_location"]).as_uri()
    experiment["create_experiment_kwargs"] = creation
    return {**configuration, "server": server, "tracking": {**configuration["tracking"], "experiment": experiment}}


def _images_source(context: KedroContext | None) -> Path:
    assert context is not None
    knobs = context.config_loader["globals"]
    return Path((context.config_loader.runtime_params or {}).get("images") or knobs.get("images") or "images")


def _run_file(command: Mapping[str, Any], parameters: Mapping[str, Any], project: Path) -> str:
    """A file for `kedro run --config` that repeats this run: the options given, and every parameter as it was."""
    options: dict[str, Any] = {
        name: ",".join(value) if isinstance(value, list | tuple) else value
        for name in _RUN_OPTIONS
        if (value := command.get(name))
    }
    pipelines = command.get("pipelines") or command.get("pipeline_names")
    if pipelines:
        options["pipelines"] = ",".join(pipelines)
    options["params"] = {
        name: str(project / value) if name in FOLDERS else value
        for name, value in parameters.items()
        if value is not None
    }
    return yaml.safe_dump({"run": options}, sort_keys=False, allow_unicode=True)
