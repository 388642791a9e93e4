"""The `kedro run` command of this project, which checks the options and runs a plan.

Everything that can be checked early is checked here, before MLflow, torch or a pipeline is imported.
"""

from __future__ import annotations

import copy
import pkgutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import ProjectMetadata

import topwork.pipelines
from topwork.core.candidates import backbone_names, has_choice
from topwork.core.errors import InputError
from topwork.core.parameters import FeatureParameters
from topwork.core.results import Status, StrategyResult
from topwork.core.visible import visible
from topwork.datasets.atomic import remove_abandoned
from topwork.datasets.mlflow_store import check_server
from topwork.decisions.strategies import BASIC, STRATEGIES
from topwork.models.candidates import list_candidates
from topwork.run.backbone_checks import check_backbones
from topwork.run.budget import Budget
from topwork.run.concurrency import Concurrency, checked_concurrency, leading
from topwork.run.configuration import Configuration, read_configuration, remove_files
from topwork.run.cost_table import with_costs
from topwork.run.execution import mark_begun, run_parts
from topwork.run.facts import keep_facts
from topwork.run.failures import told_error
from topwork.run.locks import sole_run
from topwork.run.mlflow_settings import run_to_join
from topwork.run.new_image_checks import check_labelled_images
from topwork.run.plan import FILTERS, Plan
from topwork.run.preflight import (
    ALL,
    AUTO,
    MODEL_SCHEME,
    check_configuration,
    check_divisible,
    check_history,
    check_images,
    check_key,
    check_model,
    check_new_images,
    check_parameters,
    check_runner,
    check_storages,
    check_texts,
    check_trained,
    checked_seconds,
    chosen_strategies,
    knob_names,
    pipelines_to_run,
    plain_parameters,
)
from topwork.run.record import check_unchanged, describe_run, keep_record, void_record
from topwork.run.sessions import Terminated, load_store
from topwork.workers import follows

_APART = {"prediction", "history", "description", "labelling", "monitoring"}
"""Pipelines with outputs that no other pipeline reads; they may run during a training in the same folder."""


class Stopped(click.ClickException):
    """A run that was stopped by a signal."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__("Stopped. The same command goes on where it was.")
        self.by = by

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """128 plus the number of the signal, as in shells."""
        return 128 + self.by


@click.group(name="topwork")
@click.version_option(package_name="topwork")
def cli() -> None:
    """Commands of this project."""


def run_project(metadata: ProjectMetadata, options: dict[str, Any]) -> None:
    """Check the options, plan the run, and run its parts as one MLflow run."""
    if follows():
        from topwork.training.ranks import follow

        return follow()
    asked = _checked(metadata, options)
    with _alone(asked.configuration, asked.pipelines):
        _run_alone(options, asked)


def begin_project(metadata: ProjectMetadata, options: dict[str, Any], key: str) -> str:
    """Check the options, and open an MLflow run for the commands of an orchestrator; returns its id.

    Each of these commands joins it where `MLFLOW_RUN_ID` has this id. The same key finds the same run again.
    """
    from topwork.run.hooks import tracking

    asked = _checked(metadata, options)
    check_images(("__default__",), asked.configuration.knobs["images"], None, metadata.project_path)
    check_divisible(asked.configuration)
    check_key(key)
    with _alone(asked.configuration, asked.pipelines):
        catalog = asked.configuration.open_catalog()
        mark_begun(catalog, asked.strategies)
        keep_facts(catalog, options, asked.configuration)
        load_store(options)
        return tracking.begin(options, key)


def end_project(env: str | None, failed: Sequence[str]) -> None:
    """Close the MLflow run of an orchestrator's commands.

    Raises:
        InputError: `MLFLOW_RUN_ID` names no run.

    """
    from topwork.run.hooks import tracking

    run = run_to_join()
    if run is None:
        raise InputError("MLFLOW_RUN_ID is not set: give the id that `begin-run` printed.")
    load_store({"env": env, "conf_source": None, "params": {}})
    tracking.end(run, failed)


@dataclass(frozen=True)
class _Asked:
    """What the options of a command ask for, after all checks."""

    configuration: Configuration
    pipelines: tuple[str, ...]
    strategies: tuple[str, ...]
    budget: Budget
    concurrency: Concurrency


def _checked(metadata: ProjectMetadata, options: dict[str, Any]) -> _Asked:
    started = time.monotonic()
    check_runner(options["runner"] or "")
    conf_source = Path(options["conf_source"] or metadata.project_path / "conf")
    check_configuration(conf_source)
    read = partial(read_configuration, metadata.project_path, conf_source, options["env"])
    options["params"] = with_costs(_with_backbone_at_hand(read, options["params"]), Path.cwd())
    configuration = read(options["params"])
    parameters, knobs = configuration.parameters, configuration.knobs
    check_parameters(options["params"], parameters, knob_names(conf_source))
    budget = Budget(checked_seconds(knobs["minutes"]), started)
    concurrency = checked_concurrency(knobs)
    check_storages(knobs)
    strategies = chosen_strategies(parameters["strategies"])
    names = _asked_pipelines(options, knobs)
    check_images(names, knobs["images"], knobs["example"], metadata.project_path)
    check_new_images(names, options["params"].get("new_images"))
    check_model(names, knobs["model"])
    check_history(names, configuration)
    check_trained(names, configuration)
    check_labelled_images(names, configuration)
    check_backbones(names, strategies, parameters)
    if knobs["compare_runs"] and {"__default__", "comparison"} & set(names):
        _check_compared_runs(configuration, str(knobs["compare_runs"]))
    return _Asked(configuration, tuple(names), strategies, budget, concurrency)


@contextmanager
def _alone(configuration: Configuration, names: Sequence[str]) -> Iterator[None]:
    """A context in which no other process uses the data folder."""
    with ExitStack() as locks:
        for work in sorted({name if name in _APART else "run" for name in names}):
            locks.enter_context(sole_run(configuration.data, work))
        for folder in (*configuration.data.glob("0[2-8]_*"), configuration.store):
            remove_abandoned(folder)
        yield


def _asked_pipelines(options: Mapping[str, Any], knobs: Mapping[str, Any]) -> list[str]:
    asked = [options["pipeline"]] if options["pipeline"] else options["pipelines"]
    known = [*(module.name for module in pkgutil.iter_modules(topwork.pipelines.__path__)), "__default__"]
    return pipelines_to_run(asked, known, knobs["example"] if not options["params"].get("images") else None)


def _run_alone(options: dict[str, Any], asked: _Asked) -> None:
    """Run in a data folder that no other process uses."""
    configuration, names, strategies, budget = asked.configuration, asked.pipelines, asked.strategies, asked.budget
    wanted = set(configuration.parameters["strategies"].split("+"))
    catalog, skips = configuration.open_catalog(), AUTO in wanted or (budget.seconds is not None and ALL in wanted)
    if options["only_missing_outputs"]:
        check_unchanged(configuration, catalog)
    void_record(configuration, catalog)
    if "export" in names:  # remove the files of an earlier export
        remove_files(catalog, "onnx_model", "export_parity")
    for strategy in () if skips else STRATEGIES:  # and forget what an earlier run skipped
        if catalog.load(f"{strategy}.result").status is Status.SKIPPED:
            catalog.save(f"{strategy}.result", StrategyResult(strategy, Status.NOT_RUN))
    features = FeatureParameters.model_validate(configuration.parameters["features"])
    candidates = list_candidates(features, None) if has_choice(features) else ()
    blocks = configuration.parameters
    plan = Plan(names, strategies, configuration.open_catalog, skips, blocks, candidates, budget, asked.concurrency)
    if "__default__" in names:
        keep_facts(catalog, options, configuration)
    run_parts(options, plan)
    if "__default__" in names and set(BASIC) <= set(strategies) and not any(options[name] for name in FILTERS):
        keep_record(catalog, describe_run(configuration, catalog))


def _with_backbone_at_hand(
    read: Callable[[Mapping[str, Any]], Configuration], params: dict[str, Any]
) -> dict[str, Any]:
    """The parameters, with `backbone=models:/NAME@ALIAS` replaced by the folder of the fetched classifier."""
    names = backbone_names(str(params.get("backbone", "")))
    if not any(name.startswith(MODEL_SCHEME) for name in names):
        return params
    from topwork.run.registry import fetch_classifier

    configuration = read(params)
    uri, into = _tracking_uri(configuration), configuration.store / "backbones"
    at_hand = [str(fetch_classifier(name, into, uri)) if name.startswith(MODEL_SCHEME) else name for name in names]
    return {**params, "backbone": "+".join(at_hand)}


def _check_compared_runs(configuration: Configuration, names: str) -> None:
    """Check that MLflow has the runs with these ids, before the training."""
    from topwork.run.registry import check_runs

    check_runs(names, _tracking_uri(configuration))


def _tracking_uri(configuration: Configuration) -> str:
    from topwork.run.mlflow_settings import settled

    server = settled(dict(configuration.loader["mlflow"]), configuration.project)["server"]
    check_server(server["mlflow_tracking_uri"])
    return str(server["mlflow_tracking_uri"])


def _plain(parse: Callable[..., Any] | None) -> Callable[..., Any]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            check_texts(value)
            parsed = parse(context, parameter, value) if parse else value
            return plain_parameters(value, parsed, Path.cwd())
        except InputError as mistake:
            raise click.ClickException(visible(str(mistake))) from None

    return callback


@contextmanager
def _told() -> Iterator[None]:
    """A context whose errors are told in one line, if they are no defects."""
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Stopped(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT) from None
    except Exception as error:
        if mistake := told_error(error):
            raise click.ClickException(visible(str(mistake))) from None
        raise


@click.pass_obj
def _run(metadata: ProjectMetadata, /, **options: Any) -> None:
    with _told(), leading():
        run_project(metadata, options)


@click.pass_obj
def _begin(metadata: ProjectMetadata, /, key: str, **options: Any) -> None:
    with _told():
        click.echo(begin_project(metadata, options, key))


def _run_options() -> list[click.Parameter]:
    """All options of Kedro's `run` command."""
    options = []
    for original in kedro_run.params:
        option = copy.copy(original)
        if option.name == "params":
            option.callback = _plain(option.callback)
        options.append(option)
    return options


@cli.command("end-run")
@click.option("--env", "-e", help="Kedro's environment, as of the run.")
@click.option("--failed", default="", help="Names of the tasks that failed, separated by commas.")
@click.pass_obj
def _end(_: ProjectMetadata, /, env: str | None, failed: str) -> None:
    """Close the MLflow run that `MLFLOW_RUN_ID` names."""
    with _told():
        end_project(env, [name for name in failed.split(",") if name])


_KEY = click.Option(["--key"], required=True, help="Name of the orchestrator's run; the same key finds the run again.")
_BEGIN = "Open an MLflow run for commands that join it (`MLFLOW_RUN_ID`), with the options of `run`; print its id."
cli.add_command(click.Command("run", params=_run_options(), callback=_run, help=kedro_run.help))
cli.add_command(click.Command("begin-run", params=[_KEY, *_run_options()], callback=_begin, help=_BEGIN))
