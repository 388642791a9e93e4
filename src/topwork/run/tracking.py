"""Hooks that record every run in MLflow, from what the catalog loads and saves; nodes do not use MLflow.

kedro-mlflow sets the store. The runs are opened here, because its hook opens and closes one run per session.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import mlflow
from kedro.framework import project as kedro_project
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.pipeline.node import Node
from kedro_mlflow.config.kedro_mlflow_config import KedroMlflowConfig
from pydantic import BaseModel

from topwork.core.classifier import in_words
from topwork.core.digests import manifest_digest, split_digest
from topwork.core.errors import StoreLostError
from topwork.core.features import OWN_EXTRACTOR
from topwork.core.parameters import each_once
from topwork.core.progress import Measured
from topwork.core.results import Champion, Drift, Leaderboard, Status, StrategyResult
from topwork.core.slices import Slices
from topwork.datasets.mlflow_store import check_server, sole_maker
from topwork.datasets.strategy_result import as_json
from topwork.decisions.strategies import STRATEGIES, STRATEGY
from topwork.run.configuration import following_parameters, reach_storages
from topwork.run.failures import told_error
from topwork.run.mlflow_settings import run_to_join, settled
from topwork.run.preflight import CHOSEN, SLOT, check_blocks, check_parameters, check_runner, knob_names
from topwork.run.provenance import code_tags
from topwork.run.recorder import BACKBONE_TAG, FAILED_TAG, Recorder
from topwork.run.results_in_words import count_answers, note_of_answers, note_of_run, note_of_strategy
from topwork.run.run_file import run_file, run_name

logging.getLogger("kedro_mlflow").setLevel(logging.WARNING)  # it sets itself to INFO when imported
_log = logging.getLogger(__name__)
_ANSWERING = "asked_classifier"
_DIGESTS = {"manifest": manifest_digest, "splits": split_digest}
_FEW_RETRIES = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}


class _Curves(logging.Handler):
    """Passes on the measurements of a running node, such as the epochs of a training."""

    def __init__(self, log: Callable[[Measured], None]) -> None:
        super().__init__(logging.INFO)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on one measurement."""
        if measured := getattr(record, "measured", None):
            self._log(measured)


class RunTracking:
    """Records one parent run per command, also with several sessions, and a child run for each strategy.

    Where `MLFLOW_RUN_ID` names a run, the command is a part of that one: it records there, and leaves it open.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._recorder = Recorder()
        self._context: KedroContext | None = None
        self._parameters: dict[str, Any] = {}
        self._catalog: Any = None
        self._held = False
        self._command: dict[str, Any] = {}
        self._node_started: dict[str, float] = {}
        self._namespace: str | None = None
        self._failed: list[str] = []
        self._keeps_failures = True
        self._curves = _Curves(self._log_point)

    # ---- the command -------------------------------------------------------------------------------------------

    @contextmanager
    def one_run(self, command: Mapping[str, Any], *, keeps_failures: bool) -> Iterator[None]:
        """Record all sessions inside as one MLflow run: FINISHED, FAILED, or KILLED if it is interrupted.

        Args:
            command: the options of the `run` command, for `run.yml`.
            keeps_failures: whether the failure of a strategy is saved as its result, for a later leaderboard;
                otherwise the result of its last run stays.

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
        """Tag the run with the failed strategies; it then ends as FAILED. Of a joined run, `end` says what failed."""
        self._failed = strategies
        if self._recorder.parent and not run_to_join():
            self._recorder.store.set_tag(self._recorder.parent, FAILED_TAG, "+".join(strategies))

    @property
    def page(self) -> str:
        """Address of the table of runs in MLflow."""
        return self._recorder.page

    # ---- a run of several commands -----------------------------------------------------------------------------

    def begin(self, command: Mapping[str, Any], key: str) -> str:
        """Open a parent run for other commands, or find the one that was begun with this key; returns its id."""
        self._command = dict(command)
        return self._recorder.begin(key, *self._described())

    def end(self, run: str, failed: Sequence[str]) -> None:
        """Close the run of these commands, of which some ``failed``."""
        self._recorder.end(run, failed, [name for name in STRATEGIES if name in failed])

    # ---- hooks -------------------------------------------------------------------------------------------------

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Check the parameters, and set the store and the experiment."""
        loader = context.config_loader
        reach_storages(loader, {**loader["globals"], **(loader.runtime_params or {})})
        resolved = dict(loader["parameters"])  # the context's own hold Kedro's typed models
        self._parameters = {name: value for name, value in resolved.items() if name not in {SLOT, CHOSEN}}
        if kedro_project.PACKAGE_NAME == "topwork":
            knobs = [*knob_names(Path(loader.conf_source)), SLOT, CHOSEN]
            check_parameters(loader.runtime_params or {}, self._parameters, knobs)
        else:  # Topwork's pipelines in another project, which has parameters of its own
            check_blocks(self._parameters)
        loader["mlflow"] = settled(dict(loader["mlflow"]), context.project_path)
        self._context = context
        self._recorder.use(_experiment(context, loader["mlflow"]))

    @hook_impl
    def before_pipeline_run(self, run_params: dict[str, Any], catalog: Any) -> None:
        """Check the runner; the MLflow run is opened later by the first node, so that there is no run without nodes."""
        check_runner(str(run_params["runner"]))
        if not self._held:
            self._close("KILLED")  # runs of an interrupted session of this process: Kedro calls no hook on Ctrl-C
        self._catalog = catalog
        observed = logging.getLogger("topwork.core.progress")
        observed.setLevel(logging.INFO)
        observed.addHandler(self._curves)  # adding it again has no effect
        if not self._command:
            self._command = dict(run_params)

    @hook_impl
    def before_dataset_loaded(self, node: Node) -> None:
        """Remember the namespace of the current node, in case it fails."""
        self._namespace = node.namespace

    @hook_impl
    def before_node_run(self, node: Node) -> None:
        """Open the runs that this node belongs to, and store its start time."""
        with self._lock:
            self._open(node.namespace)
            self._node_started[node.name] = time.perf_counter()

    @hook_impl
    def after_node_run(self, node: Node, catalog: Any) -> None:
        """Save and log the seconds that a node of a strategy took."""
        seconds = time.perf_counter() - self._node_started.pop(node.name)
        if node.namespace in STRATEGIES:
            name = f"{node.namespace}.timings"
            catalog.save(name, {**catalog.load(name), node.short_name: seconds})
            self._recorder.log_at_the_end(node.namespace, {f"{node.short_name}_seconds": seconds})

    @hook_impl
    def after_dataset_loaded(self, dataset_name: str, data: Any, node: Node) -> None:
        """Name the data and the model that the run used; a node's first load comes before its run is open."""
        if dataset_name in {*_DIGESTS, _ANSWERING}:
            with self._lock:
                self._open(node.namespace)
                if dataset_name == _ANSWERING:
                    logged_model = self._catalog[dataset_name].logged_model
                    self._recorder.log_answering(in_words(data), data.backbone, logged_model)
                else:
                    self._log_input(self._recorder.run_of(node.namespace), dataset_name, data)

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Log the saved data according to `metadata.mlflow` in the catalog."""
        run, dataset = self._recorder.run_of(node.namespace), self._catalog[dataset_name]
        store, file = self._recorder.store, f"{dataset_name.rsplit('.', maxsplit=1)[-1]}.json"
        match (getattr(dataset, "metadata", None) or {}).get("mlflow"):
            case "input":
                self._log_input(run, dataset_name, data)
            case "model":
                self._log_model(str(node.namespace))
            case "artifact":
                for path in dataset.artifacts:
                    store.log_artifact(run, str(path))
            case "table":
                table = data.table() if isinstance(data, Slices) else data
                if len(table):  # of slices there may be none
                    store.log_table(run, table, file)
            case "json":
                store.log_dict(run, _as_json(data), file)
            case "answers":
                self._recorder.log_metrics(run, count_answers(data))
                self._recorder.note(run, note_of_answers(data))
            case "metrics" if isinstance(data, StrategyResult):
                model = self._model_of(data.strategy)
                self._recorder.log_metrics(run, data.numbers(), model, data.split_digest)
                self._recorder.note(run, note_of_strategy(data), model)
                store.log_dict(run, _as_json(data), "metrics.json")
            case "metrics":
                self._log_result(run, data)
                store.log_dict(run, _as_json(data), file)

    @hook_impl
    def after_pipeline_run(self) -> None:
        """Close the child runs, and the parent run unless more sessions belong to it."""
        self._recorder.close_children("FINISHED")
        if not self._held:
            self._close("FINISHED")

    @hook_impl
    def on_pipeline_error(self, error: Exception, catalog: Any) -> None:
        """Close what failed as FAILED; a strategy that failed says so in its result."""
        strategy = self._namespace
        if strategy in STRATEGIES:
            if self._keeps_failures:
                told = str(told_error(error) or error).strip() or type(error).__name__
                reason = told.splitlines()[0].rstrip(".")
                catalog.save(f"{strategy}.result", StrategyResult(strategy, Status.FAILED, reason))
            with suppress(StoreLostError):
                self._open(strategy)
                self._recorder.close_child(strategy, "FAILED")
        self._recorder.close_children("FINISHED")
        if not self._held:
            self._close("FAILED")

    # ---- what the recorder is told -----------------------------------------------------------------------------

    def _open(self, namespace: str | None) -> None:
        """Open the parent run, and a child run if the namespace is a strategy."""
        if self._context is None:
            return
        recorder = self._recorder
        if not recorder.parent:
            if run := run_to_join():
                recorder.join(run)
            else:
                recorder.open_parent(*self._described())
        if namespace in STRATEGIES and not recorder.has_child(namespace):
            others = set(STRATEGIES) - {namespace}
            of_child = {name: value for name, value in self._logged().items() if name.partition(".")[0] not in others}
            recorder.open_child(namespace, self._features_of(namespace), of_child)

    def _described(self) -> tuple[str, dict[str, str], dict[str, Any], str]:
        """Name, tags, parameters and `run.yml` of a parent run."""
        assert self._context is not None
        given, project = self._context.config_loader.runtime_params, self._context.project_path
        images = Path(str((given or {}).get("new_images") or _images_source(self._context))).name
        tags = {"topwork.images": images, BACKBONE_TAG: str(self._parameters["features"]["backbone"])}
        name, tags = run_name(images, self._command, given), {**tags, **code_tags(project)}
        return name, tags, self._logged(), run_file(self._command, self._resolved(), project)

    def _logged(self) -> dict[str, Any]:
        """The parameters of a run in MLflow."""
        assert self._context is not None
        following = following_parameters(Path(self._context.config_loader.conf_source))
        extractor = _extractor(str(self._parameters["features"]["backbone"]))
        return {**each_once(self._resolved(), following), "extractor": extractor}

    def _features_of(self, strategy: str) -> tuple[str, str]:
        """The backbone of a strategy, and the name of the features if the run compares several."""
        assert self._context is not None
        if not STRATEGY[strategy].on_features:
            return str(self._parameters[strategy].get("backbone", "")), ""
        chosen = (self._context.config_loader.runtime_params or {}).get(CHOSEN, "")
        return str(self._parameters["features"]["backbone"]), str(chosen)

    def _close(self, status: str) -> None:
        self._recorder.close(status)
        self._node_started.clear()
        if not self._held:
            self._command = {}

    def _resolved(self) -> dict[str, Any]:
        """The main parameters of the run, followed by the parameter blocks; every run has the same names."""
        assert self._context is not None
        loader = self._context.config_loader
        knobs = {**loader["globals"], **(loader.runtime_params or {})}
        return {**{name: knobs[name] for name in loader["globals"]}, **self._parameters}

    def _log_point(self, measured: Measured) -> None:
        if self._namespace and self._recorder.has_child(self._namespace):
            self._recorder.log_point(self._namespace, measured)

    def _log_input(self, run: str, name: str, table: Any) -> None:
        self._recorder.log_input(run, name, _DIGESTS[name](table), table, _images_source(self._context))

    def _log_result(self, run: str, data: Drift | Champion) -> None:
        """Log the numbers of a result with its description in words."""
        if isinstance(data, Drift):
            self._recorder.log_metrics(run, data.numbers(), data.model_id if self._has_model(data) else None)
            self._recorder.note(run, data.conclusion)
            return
        leaderboard: Leaderboard = self._catalog.load("leaderboard")
        row = leaderboard.row_of(data)
        self._recorder.log_metrics(run, {**data.numbers(), **(row.scores() if row else {}), **leaderboard.numbers()})
        self._recorder.note(run, note_of_run(data, leaderboard))
        if data.strategy:
            self._recorder.store.set_tag(run, "topwork.champion", data.name)
        if self._has_model(data):
            self._recorder.link_model(run, data.model_id)

    def _has_model(self, data: Drift | Champion) -> bool:
        return bool(data.model_id) and self._recorder.has_model(data.model_id)

    def _log_model(self, strategy: str) -> str:
        logged = self._recorder.log_model(strategy, self._catalog[f"{strategy}.classifier"].folder)
        self._catalog.save(f"{strategy}.logged_model", logged)
        return logged["model_id"]

    def _model_of(self, strategy: str) -> str:
        """Id of the strategy's logged model; the model is logged again if this store does not have it."""
        model = self._catalog.load(f"{strategy}.logged_model").get("model_id")
        if model and self._recorder.has_model(model):
            return str(model)
        _log.info("%s: its logged model is not in this MLflow store; logged again.", strategy)
        return self._log_model(strategy)


def _experiment(context: KedroContext, configuration: dict[str, Any]) -> str:
    """Id of the experiment in the store of `mlflow.yml`, or of the user's active run, if there is one."""
    uri = configuration["server"]["mlflow_tracking_uri"]
    check_server(uri)
    for name, value in _FEW_RETRIES.items():
        os.environ.setdefault(name, value)
    if active := mlflow.active_run():
        return str(active.info.experiment_id)
    config = KedroMlflowConfig.model_validate(configuration)
    with sole_maker(uri):
        try:
            config.setup(context)
        except mlflow.MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            config.setup(context)  # another run made the experiment on this server at the same moment
        experiment = mlflow.set_experiment(config.tracking.experiment.name)
    context.__setattr__("mlflow", config)  # kedro-mlflow's own place for it
    return str(experiment.experiment_id)


def _as_json(data: Any) -> Any:
    """A result as in its JSON file."""
    if isinstance(data, StrategyResult):
        return as_json(data)
    return data.model_dump(mode="json") if isinstance(data, BaseModel) else data


def _images_source(context: KedroContext | None) -> str:
    assert context is not None
    knobs = context.config_loader["globals"]
    return str((context.config_loader.runtime_params or {}).get("images") or knobs.get("images") or "images")


def _extractor(backbone: str) -> str:
    """Source digest and version of a feature extractor of the user, by which the history tells its versions apart."""
    if not backbone.startswith(OWN_EXTRACTOR):
        return "none"
    from topwork.models.own_extractor import extractor_digest

    digest, _, version = extractor_digest(backbone).partition(" ")
    return f"{digest[:16]} {version}"
