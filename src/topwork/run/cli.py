"""`kedro run` for this project: one session for each strategy, so that one that fails leaves the others standing.

Everything that can be refused is refused here, before MLflow, torch or a pipeline is imported.
"""

from __future__ import annotations

import copy
import logging
import pkgutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import ProjectMetadata
from kedro.pipeline import Pipeline
from kedro.utils import load_obj

import topwork.pipelines
from topwork.core.errors import InputError
from topwork.core.parameters import STRATEGIES
from topwork.core.visible import visible
from topwork.datasets.atomic import remove_abandoned
from topwork.datasets.mlflow_store import check_server
from topwork.datasets.report import ReportDataset
from topwork.run.configuration import load_configuration
from topwork.run.failures import StoreLostError, input_error
from topwork.run.locks import sole_run
from topwork.run.preflight import (
    AUTO,
    MODEL_SCHEME,
    check_history,
    check_images,
    check_model,
    check_new_images,
    check_parameters,
    check_runner,
    check_texts,
    chosen_strategies,
    knob_names,
    pipelines_to_run,
    plain_parameters,
)
from topwork.run.record import check_unchanged, describe_run, keep_record, void_record

_log = logging.getLogger(__name__)
_FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
_INSTALLED_BACKBONE, _OWN_NETWORK = "efficientnet_lite0", "shallow"
_APART = {"prediction", "history"}
"""Pipelines that write nothing that others read: they may run beside a training in the same folder."""


@dataclass(frozen=True)
class Part:
    """Nodes that run in one session; ``strategy`` where they are all of one."""

    strategy: str | None
    node_names: tuple[str, ...]


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a run as Ctrl-C does."""


class Stopped(click.ClickException):
    """A run that was stopped; the exit code says by which signal, as shells count."""

    def __init__(self, by: signal.Signals) -> None:
        super().__init__("Stopped. The same command goes on where it was.")
        self.by = by

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        """As shells count."""
        return 128 + self.by


@click.group(name="topwork")
def cli() -> None:
    """Commands of this project."""


def plan_parts(pipeline: Pipeline, strategies: Sequence[str]) -> list[Part]:
    """The pipeline cut into what comes before the strategies, each strategy chosen, and what comes after."""
    of_strategy = {name: [node for node in pipeline.nodes if node.namespace == name] for name in STRATEGIES}
    every = [node.name for nodes in of_strategy.values() for node in nodes]
    after = {node.name for node in pipeline.from_nodes(*every).nodes} - set(every) if every else set()
    first = [node.name for node in pipeline.nodes if node.name not in after and node.name not in every]
    last = [node.name for node in pipeline.nodes if node.name in after]
    middle = [Part(name, tuple(node.name for node in of_strategy[name])) for name in strategies]
    return [part for part in (Part(None, tuple(first)), *middle, Part(None, tuple(last))) if part.node_names]


def run_project(metadata: ProjectMetadata, options: dict[str, Any]) -> None:
    """Check, plan, and run part by part under one MLflow run."""
    check_runner(options["runner"] or "")
    conf_source = Path(options["conf_source"] or metadata.project_path / "conf")
    options["params"] = _with_backbone_at_hand(metadata, conf_source, options["env"], options["params"])
    configuration = load_configuration(conf_source, options["env"], options["params"])
    parameters, knobs = configuration["parameters"], {**configuration["globals"], **options["params"]}
    check_parameters(options["params"], parameters, knob_names(conf_source))
    strategies = chosen_strategies(parameters["strategies"])
    asked = [options["pipeline"]] if options["pipeline"] else options["pipelines"]
    example = knobs["example"] if not options["params"].get("images") else None
    names = pipelines_to_run(asked, _known_pipelines(), example)
    check_images(names, knobs["images"], knobs["example"], metadata.project_path)
    check_new_images(names, options["params"].get("new_images"))
    check_model(names, knobs["model"])
    check_history(names, metadata.project_path / knobs["data"])
    _check_backbone(names, parameters["features"])
    if knobs["compare_runs"] and {"__default__", "comparison"} & set(names):
        _check_compared_runs(metadata, configuration, str(knobs["compare_runs"]))
    if "finetune" in strategies and {"__default__", "finetune"} & set(names):
        _check_trainable_groups(str(parameters["finetune"]["trainable_groups"]), parameters["features"])
    if "scratch" in strategies and parameters["scratch"]["backbone"] != _OWN_NETWORK:
        _try_out(str(parameters["scratch"]["backbone"]), "none", parameters["scratch"], "last", "average")

    data, store = metadata.project_path / knobs["data"], metadata.project_path / knobs["store"]
    with ExitStack() as locks:
        for work in sorted({name if name in _APART else "run" for name in names}):
            locks.enter_context(sole_run(data, work))
        for folder in (*data.glob("0[2-8]_*"), store):
            remove_abandoned(folder)
        _run_in(data, options, names, metadata, parameters, knobs)


def _run_in(
    data: Path,
    options: dict[str, Any],
    names: list[str],
    metadata: ProjectMetadata,
    parameters: dict[str, Any],
    knobs: Mapping[str, Any],
) -> None:
    """Run in a data folder that nobody else works in."""
    strategies = chosen_strategies(parameters["strategies"])
    if options["only_missing_outputs"]:
        check_unchanged(data, describe_run(parameters, _absolute(metadata, knobs["images"]), knobs["layout"]))
    void_record(data, parameters)
    _forget(data, names, is_auto=parameters["strategies"] == AUTO)
    skip = partial(_why_skip, data / "08_reporting") if parameters["strategies"] == AUTO else lambda *_: ""
    _run_parts(options, names, lambda pipeline: plan_parts(pipeline, strategies), data / "08_reporting", skip)
    if "__default__" in names and strategies == STRATEGIES and not any(options[name] for name in _FILTERS):
        keep_record(data, describe_run(parameters, _absolute(metadata, knobs["images"]), knobs["layout"]))


def _with_backbone_at_hand(
    metadata: ProjectMetadata, conf_source: Path, env: str | None, params: dict[str, Any]
) -> dict[str, Any]:
    """`backbone=models:/NAME@ALIAS` becomes the folder of that classifier, fetched from MLflow's registry."""
    if not str(params.get("backbone", "")).startswith(MODEL_SCHEME):
        return params
    from topwork.run.registry import fetch_classifier

    configuration = load_configuration(conf_source, env, params)
    store = metadata.project_path / {**configuration["globals"], **params}["store"]
    folder = fetch_classifier(params["backbone"], store / "backbones", _tracking_uri(metadata, configuration))
    return {**params, "backbone": str(folder)}


def _check_compared_runs(metadata: ProjectMetadata, configuration: Mapping[str, Any], names: str) -> None:
    """Ids that MLflow does not know are refused now, not after the training."""
    from topwork.run.registry import check_runs

    check_runs(names, _tracking_uri(metadata, configuration))


def _tracking_uri(metadata: ProjectMetadata, configuration: Mapping[str, Any]) -> str:
    from topwork.run.tracking import settled

    server = settled(dict(configuration["mlflow"]), metadata.project_path)["server"]
    check_server(server["mlflow_tracking_uri"])
    return str(server["mlflow_tracking_uri"])


def _known_pipelines() -> list[str]:
    return [*(module.name for module in pkgutil.iter_modules(topwork.pipelines.__path__)), "__default__"]


def _absolute(metadata: ProjectMetadata, path: str | None) -> str:
    return str(metadata.project_path / path) if path else ""


def _check_backbone(names: Sequence[str], parameters: dict[str, Any]) -> None:
    """Have the weights at hand before anything long; those of the default always are, without importing torch."""
    if not {"__default__", "features", "finetune"} & set(names):
        return
    backbone, weights = str(parameters["backbone"]), str(parameters["weights"])
    if weights not in {"default", "none"} and not Path(weights).is_file():
        raise InputError(f"weights={weights}: there is no such file (`default` and `none` are the other choices).")
    layers = str(parameters["layers"])
    if (backbone, layers, weights) != (_INSTALLED_BACKBONE, "last", "default"):
        _try_out(backbone, weights, parameters, layers, str(parameters["pool"]))


def _try_out(backbone: str, weights: str, parameters: dict[str, Any], layers: str, pool: str) -> None:
    from topwork.models.backbones import describe_backbone, load_backbone, try_out

    spec = describe_backbone(backbone, weights, parameters["image_size"], parameters["seed"])
    try_out(spec, layers, pool)
    if weights not in {"default", "none"}:
        load_backbone(spec)  # a file that is none of this network's


def _check_trainable_groups(wanted: str, parameters: dict[str, Any]) -> None:
    """Names and numbers of layer groups need the network, without its weights."""
    if wanted in {"auto", "all"}:
        return
    from topwork.models.backbones import describe_backbone, load_backbone
    from topwork.models.layer_groups import first_trainable, layer_groups

    spec = describe_backbone(str(parameters["backbone"]), "none", parameters["image_size"], parameters["seed"])
    first_trainable(layer_groups(load_backbone(spec).trunk), wanted)


def _forget(data: Path, names: Sequence[str], *, is_auto: bool) -> None:
    """What an earlier run skipped, or exported, says nothing about this one: without a new result there is none."""
    if "export" in names:
        for name in ("model.onnx", "parity.json"):
            (data / "06_models" / "onnx" / name).unlink(missing_ok=True)
    for strategy in () if is_auto else STRATEGIES:
        metrics = data / "08_reporting" / strategy / "metrics.json"
        if _report(metrics).get("status") == "skipped":
            metrics.unlink()


def _report(path: Path) -> dict[str, Any]:
    """What a JSON file says; nothing, if there is none or it is damaged."""
    return dict(ReportDataset(filepath=str(path), missing={}).load())


def _why_skip(reporting: Path, strategy: str, done: Sequence[str]) -> str:
    """Why `strategies=auto` leaves this one out, by the advice or by the scores of those that are done; or nothing.

    The leaderboard says so too, unless the strategy has a score from before.
    """
    from topwork.decisions.advisor import why_stop

    scored = {name: _report(reporting / name / "metrics.json") for name in [*done, strategy]}
    earlier = scored.pop(strategy)
    reason = str(_report(reporting / "advice.json").get("ruled_out", {}).get(strategy) or why_stop(scored))
    if reason and earlier.get("status") != "ok":
        skipped = {"strategy": strategy, "status": "skipped", "reason": reason}
        ReportDataset(filepath=str(reporting / strategy / "metrics.json")).save(skipped)
    return reason


def _run_parts(
    options: dict[str, Any],
    names: list[str],
    plan: Callable[[Pipeline], list[Part]],
    reporting: Path,
    why_skip: Callable[[str, Sequence[str]], str],
) -> None:
    from kedro.framework.project import pipelines

    from topwork.run.hooks import display, tracking

    pipelines.set_requested(names)
    filters = {("node_namespaces" if name == "namespaces" else name): options[name] for name in _FILTERS}
    try:
        selected = sum((pipelines[name] for name in names), Pipeline([])).filter(
            **{name: value or None for name, value in filters.items()}
        )
    except ValueError as error:
        raise InputError(f"{str(error).rstrip('.')}: pipelines {', '.join(names)} have none.") from error
    parts, done, failed = plan(selected), list[str](), dict[str, Exception]()
    compared = any(part.strategy is None for part in parts[1:])
    with _terminable(), tracking.one_run(options, keeps_failures=compared), _closing(display.close):
        for part in parts:
            if part.strategy and (reason := why_skip(part.strategy, done)):
                _log.info("%s skipped: %s", part.strategy, reason)
                continue
            try:
                _run_part(options, names, part)
            except Exception as error:
                if part.strategy is None or isinstance(input_error(error), StoreLostError):
                    raise
                failed[part.strategy] = error
                if input_error(error) is None:
                    _log.exception("%s failed", part.strategy)
            else:
                done += [part.strategy] if part.strategy else []
        if failed:
            tracking.note_failed(list(failed))
    display.show_results({part.strategy for part in parts if part.strategy}, reporting)
    if failed:
        reasons = [f"{name} failed: {str(input_error(error) or error).rstrip('.')}." for name, error in failed.items()]
        rest = ["What else was asked for is finished."] if len(parts) > len(failed) else []
        raise InputError(" ".join([*reasons, *rest]))


def _run_part(options: dict[str, Any], names: list[str], part: Part) -> None:
    from kedro.framework.session import KedroSession

    runner = load_obj(options["runner"] or "SequentialRunner", "kedro.runner")
    session = KedroSession.create(
        env=options["env"], conf_source=options["conf_source"], runtime_params=options["params"]
    )
    with session:
        session.run(
            pipeline_names=names,
            runner=runner(is_async=options["is_async"], **options["runner_params"]),
            node_names=part.node_names,
            load_versions=options["load_versions"],
            only_missing_outputs=options["only_missing_outputs"],
        )


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that MLflow hears of it."""

    def stop(*_: object) -> None:
        raise Terminated

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _closing(close: Callable[[], None]) -> Iterator[None]:
    try:
        yield
    finally:
        close()


def _plain(parse: Callable[..., Any] | None) -> Callable[..., Any]:
    def callback(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        try:
            check_texts(value)
            parsed = parse(context, parameter, value) if parse else value
            return plain_parameters(value, parsed, Path.cwd())
        except InputError as mistake:
            raise click.ClickException(visible(str(mistake))) from None

    return callback


@click.pass_obj
def _run(metadata: ProjectMetadata, /, **options: Any) -> None:
    try:
        run_project(metadata, options)
    except KeyboardInterrupt as stop:
        raise Stopped(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT) from None
    except Exception as error:
        if mistake := input_error(error):
            raise click.ClickException(visible(str(mistake))) from None
        raise


def _run_command() -> click.Command:
    """Kedro's own `run` with all its options, and this project's way of running."""
    options = []
    for original in kedro_run.params:
        option = copy.copy(original)
        if option.name == "params":
            option.callback = _plain(option.callback)
        options.append(option)
    return click.Command("run", params=options, callback=_run, help=kedro_run.help)


cli.add_command(_run_command())
