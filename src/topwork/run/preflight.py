"""Checks before any long work: unknown names, values out of range, missing images."""

from __future__ import annotations

import difflib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from topwork.core.candidates import backbone_names, has_choice
from topwork.core.errors import InputError
from topwork.core.features import OWN_EXTRACTOR
from topwork.core.parameters import Block, FeatureParameters, parameter_names
from topwork.core.words import perhaps
from topwork.datasets.remote import check_place, in_urls, is_url
from topwork.decisions.strategies import BASIC, BLOCKS, STRATEGIES
from topwork.run.configuration import Configuration

FOLDERS = ("images", "data", "store", "new_images", "cache")
"""Parameters that name a folder, relative to the folder in which the command was started, or most of them a URL."""
_TEXTS = ("backbone", "strategies", "layout", "example", "model", "compare_runs", "groups", "slices")
MODEL_SCHEME = "models:/"
"""Prefix of the URI of a model in MLflow."""
SLOT, CHOSEN = "slot", "chosen"
"""Parameters that the run itself gives if it compares several features: the folder of the results, and their name."""
BEFORE = {"labelling": ("description",), "monitoring": ("description",)}
"""Pipelines that run before a given one, which shares them with others."""
_OF_NEW_IMAGES = ("prediction", "labelling", "monitoring", "description")
ALL, AUTO = "all", "auto"
"""Values for all strategies, and for those that the advice does not rule out."""
_KIND = re.compile(r"constrained-\w+|literal\[.*\]|tuple\[.*\]|int|float|str|bool")
"""What pydantic adds to the name of a value of several kinds."""
_QUOTED = re.compile(r"'([^']*)'")
_WEIGHT_WORDS = ("default", "none")


def check_texts(raw: str | Mapping[str, Any]) -> None:
    """Check that the command line and OmegaConf can read the values.

    Raises:
        InputError: a value has a comma (which ends a value), `${` (which refers to another value), or undecodable text.

    """
    if isinstance(raw, str):
        for item in filter(str.strip, raw.split(",")):
            if "=" not in item:
                raise InputError(
                    f"--params {raw}: {item!r} has no `=`. A comma ends a value: give one that holds a comma in a "
                    "file, `kedro run --config run.yml` with `run: {params: {images: 'a,b'}}` in it."
                )
    for name, value in (_texts(raw) if isinstance(raw, str) else raw).items():
        if isinstance(value, str) and not value.isascii() and not _is_text(value):
            raise InputError(
                f"{name}={value.encode('ascii', 'backslashreplace').decode()}: this shell's locale cannot tell which "
                "letters these are. Set a UTF-8 locale (LC_ALL=C.UTF-8), or PYTHONUTF8=1."
            )
        if isinstance(value, str) and "${" in value:
            raise InputError(f"{name}={value}: `${{` stands for the value of another parameter. Rename the folder.")


def plain_parameters(raw: str | Mapping[str, Any], parsed: Mapping[str, Any], working_folder: Path) -> dict[str, Any]:
    """Parameters of the command line, with names as text (`images=2024`) and absolute folders.

    Args:
        raw: the text after `--params`, or the mapping of a `--config` file.
        parsed: the same parameters, parsed by Kedro.
        working_folder: base of relative folders.

    """
    texts = dict(raw) if isinstance(raw, Mapping) else _texts(raw)
    result = dict(parsed)
    for name in (*FOLDERS, *_TEXTS, "weights"):
        if result.get(name) is not None:
            result[name] = str(texts.get(name, result[name]))
    for name in FOLDERS:
        if result.get(name):
            result[name] = _absolute(result[name], working_folder)
    if result.get("weights") and result["weights"] not in _WEIGHT_WORDS:
        result["weights"] = _absolute(result["weights"], working_folder)
    if names := backbone_names(str(result.get("backbone") or "")):
        result["backbone"] = "+".join(_absolute_backbone(name, working_folder) for name in names)
    return result


def check_parameters(given: Mapping[str, Any], parameters: Mapping[str, Any], knobs: Iterable[str]) -> None:
    """Check for unknown names and for values out of range.

    Args:
        given: the runtime parameters.
        parameters: all resolved parameters.
        knobs: names of the main parameters, which are the keys of `globals.yml`.

    Raises:
        InputError: the message names the parameter, and similar names or allowed values.

    """
    known = {*knobs, *BLOCKS}
    for name in {**given, **parameters}:
        if name not in known:
            of_blocks = [f"{block}.{name}" for block, fields in BLOCKS.items() if name in fields.model_fields]
            near = of_blocks or difflib.get_close_matches(name, known, n=1)
            hint = f"perhaps {' or '.join(near)}?" if near else f"known are {', '.join(sorted(known))}."
            raise InputError(f"Unknown parameter {name!r}: {hint}")
    check_blocks(parameters, given)


def check_blocks(parameters: Mapping[str, Any], given: Mapping[str, Any] | None = None) -> None:
    """Check the blocks of Topwork; other parameters may be those of another project.

    Raises:
        InputError: a value is out of range, or a name in a block is unknown.

    """
    for name, block in BLOCKS.items():
        if name in parameters:
            try:
                block.model_validate(parameters[name])
            except ValidationError as error:
                raise InputError(_explain(name, block, error, given or {})) from None
    _check_one_way_to_answer(parameters)
    chosen_strategies(str(parameters.get("strategies", "all")))


def _check_one_way_to_answer(parameters: Mapping[str, Any]) -> None:
    """Costs and a threshold both decide what is answered."""
    costs = parameters.get("comparison", {}).get("costs")
    evaluation = parameters.get("evaluation", {})
    wishes = [name for name in ("recall_at_least", "precision_at_least") if evaluation.get(name) is not None]
    if costs is not None and wishes:
        raise InputError(f"comparison.costs and evaluation.{wishes[0]} both decide what is answered: leave one out.")


def chosen_strategies(wanted: str) -> tuple[str, ...]:
    """The strategies for a value such as `svm+logistic`, `all`, `auto` or `all+ensemble`, cheapest first.

    `all` and `auto` are all but those that are made of other strategies; `auto` skips some later.

    Raises:
        InputError: there is no such strategy.

    """
    asked = tuple(wanted.split("+"))
    names = {*asked, *BASIC} if {ALL, AUTO} & set(asked) else set(asked)
    for name in asked:
        if name not in (*STRATEGIES, ALL, AUTO):
            hint, known = perhaps(name, STRATEGIES), "+".join(STRATEGIES)
            raise InputError(f"strategies={wanted}: no strategy {name!r}; {hint}known are {known}, all, auto.")
    return tuple(name for name in STRATEGIES if name in names)


def checked_seconds(minutes: Any) -> float | None:
    """The time of the whole run in seconds; None: no limit.

    Raises:
        InputError: it is no positive number.

    """
    if minutes is None:
        return None
    if not isinstance(minutes, int | float) or isinstance(minutes, bool) or not 0 < minutes < math.inf:
        raise InputError(f"minutes={minutes}: give the time of the whole run in minutes, such as minutes=5.")
    return 60.0 * minutes


def pipelines_to_run(asked: Sequence[str], known: Sequence[str], example: str | None) -> list[str]:
    """The given pipelines with what they need, each once; if none are given, the example, if any, and the default one.

    Raises:
        InputError: there is no such pipeline.
    """
    for name in asked:
        if name not in known:
            raise InputError(f"No pipeline {name!r}: {perhaps(name, known)}Known are {', '.join(known)}.")
    if asked:
        return list(dict.fromkeys(part for name in asked for part in (*BEFORE.get(name, ()), name)))
    return [example, "__default__"] if example else ["__default__"]


def check_images(names: Sequence[str], images: str | None, example: str | None, project: Path) -> None:
    """Check that the images exist, unless an example makes them.

    Raises:
        InputError: no images were given, or they do not exist.
    """
    if not {"__default__", "ingestion"} & set(names) or example in names:
        return
    if not images:
        raise InputError(
            "No images given: `kedro run --params images=DIR` with a folder of class subfolders, "
            "or `make run` for the worked example."
        )
    if is_url(images):
        check_place("images", images, writes=False)
    elif not (project / images).exists():
        raise InputError(f"images={images}: there is no such folder or table.")


def check_new_images(names: Sequence[str], new_images: str | None) -> None:
    """Check that the new images exist, if the run is about them.

    Raises:
        InputError: no folder was given, or it does not exist.
    """
    about = next((name for name in _OF_NEW_IMAGES if name in names), None)
    if about is None:
        return
    if not new_images:
        raise InputError(f"No new images given: `kedro run --pipelines {about} --params new_images=DIR`.")
    if is_url(new_images):
        check_place("new_images", new_images, writes=False)
    elif not Path(new_images).is_dir():
        raise InputError(f"new_images={new_images}: there is no such folder.")


def check_storages(knobs: Mapping[str, Any]) -> None:
    """Check that what the run makes can be written, where that is an object storage.

    Raises:
        InputError: a bucket, a package or the permission is missing, or the cache is a URL, or not a size.
        MachineError: the storage does not answer.
    """
    for name in ("data", "store"):
        if is_url(knobs[name]):
            check_place(name, knobs[name], writes=True)
    if is_url(knobs["cache"]):
        raise InputError(f"cache={knobs['cache']}: give a folder of this machine.")
    size = knobs["cache_gigabytes"]
    if not isinstance(size, int | float) or isinstance(size, bool) or not 0 <= size < math.inf:
        raise InputError(f"cache_gigabytes={size}: give the size of the cache in gigabytes, such as 10.")


def check_model(names: Sequence[str], model: str | None) -> None:
    """Check the name under which the champion is registered.

    Raises:
        InputError: the name has characters that MLflow's registry does not accept.
    """
    if {"__default__", "comparison"} & set(names) and model and set(model) & set("/:@"):
        raise InputError(
            f"model={model}: the champion is registered under a plain name, such as model=clothes. To ask a registered "
            "model about new images, run `--pipelines prediction`."
        )


def check_history(names: Sequence[str], configuration: Configuration) -> None:
    """Check that the images have been listed, if the run shows their history.

    Raises:
        InputError: there is no manifest in this data folder.
    """
    is_listed_now = {"__default__", "ingestion"} & set(names)
    if "history" in names and not is_listed_now and not configuration.open_catalog().exists("manifest"):
        raise InputError(
            f"data={in_urls(str(configuration.data))}: no run has listed its images here. Give the `data=DIR` of "
            "the runs, or list "
            "the images first: `kedro run --pipelines ingestion,history --params images=DIR`."
        )


def check_trained(names: Sequence[str], configuration: Configuration) -> None:
    """Check that a run has left labelled images here, if new ones are compared with them.

    Raises:
        InputError: there is no manifest or no split in this data folder, or the images were not given.
    """
    compared = [name for name in names if name in BEFORE]
    if not compared:
        return
    catalog = configuration.open_catalog()
    if not (catalog.exists("manifest") and catalog.exists("splits")):
        raise InputError(
            f"data={in_urls(str(configuration.data))}: no run has learnt from labelled images here. Train first "
            "(`kedro run --params images=DIR`), or give the `data=DIR` of a run that has."
        )
    if "monitoring" in compared and not configuration.knobs["images"]:
        raise InputError(
            "No images given: `kedro run --pipelines monitoring --params images=DIR,new_images=DIR2` compares those of "
            "DIR2 with the labelled ones of DIR."
        )


def check_divisible(configuration: Configuration) -> None:
    """Check that the run can be divided among several commands.

    Raises:
        InputError: it has a limit of time, or a choice of features, which a single command shares out among its parts.
    """
    if configuration.knobs["minutes"] is not None:
        raise InputError(
            "minutes= is shared out within one command. Give the networks theirs (finetune.minutes, scratch.minutes), "
            "or run `kedro run` as one task."
        )
    if has_choice(FeatureParameters.model_validate(configuration.parameters["features"])):
        raise InputError(
            "Several backbones, layers, sizes or fits are screened within one command. Give one of each, or run "
            "`kedro run` as one task."
        )


def check_key(key: str) -> None:
    """Check the name of an orchestrator's run.

    Raises:
        InputError: it has a quotation mark, with which MLflow cannot be asked for it.
    """
    if "'" in key:
        raise InputError(f"--key {key}: give a name without `'`.")


def check_runner(runner: str) -> None:
    """Check that the runner is not ParallelRunner.

    Raises:
        InputError: it is; the message gives the reason.
    """
    if "Parallel" in runner:
        raise InputError(
            "ParallelRunner is not for this project: networks and MLflow runs cannot be sent to other processes. "
            "The default runner uses all cores already."
        )


def check_configuration(conf_source: Path) -> None:
    """Check that this is a folder of configuration.

    Raises:
        InputError: it has no `base/globals.yml`; the message says where one comes from.

    """
    if not (conf_source / "base" / "globals.yml").is_file():
        raise InputError(
            f"{conf_source}: no configuration of Topwork. Start the command in the folder of the project, or unpack "
            "conf-topwork.tar.gz here, which `kedro package` writes beside the wheel; or give --conf-source=DIR."
        )


def knob_names(conf_source: Path) -> list[str]:
    """Keys of the base environment's `globals.yml`."""
    return list(yaml.safe_load((conf_source / "base" / "globals.yml").read_text(encoding="utf-8")))


def _is_text(value: str) -> bool:
    """Whether the locale could decode all bytes of the value."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(raw: str) -> dict[str, str]:
    pairs = (item.partition("=") for item in raw.split(",") if "=" in item)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _absolute_backbone(name: str, working_folder: Path) -> str:
    """The name of a backbone, in which the path of a classifier's folder or of an extractor's file is absolute."""
    if name.startswith(OWN_EXTRACTOR):
        module, _, attribute = name.removeprefix(OWN_EXTRACTOR).rpartition(":")
        return f"{OWN_EXTRACTOR}{_absolute(module, working_folder)}:{attribute}" if module.endswith(".py") else name
    is_folder = "/" in name and not name.startswith(MODEL_SCHEME)
    return _absolute(name, working_folder) if is_folder else name


def _absolute(path: str, working_folder: Path) -> str:
    if is_url(path):
        return path
    absolute = os.path.normpath(working_folder / Path(path).expanduser())
    if "${" in absolute:
        raise InputError(f"{absolute}: `${{` in a path stands for the value of another parameter. Rename the folder.")
    return absolute


def _explain(name: str, block: type[Block], error: ValidationError, given: Mapping[str, Any]) -> str:
    lines, of_values = list[str](), dict[str, list[Any]]()
    for problem in error.errors():
        parameter = _as_typed(name, [str(part) for part in problem["loc"]], given)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(parameter, parameter_names(block, name), n=1)
            lines.append(f"Unknown parameter {parameter!r}" + (f": perhaps {near[0]}?" if near else "."))
        elif problem["type"] == "value_error":  # raised by a check of several parameters together
            lines.append(f"{parameter}: {problem['ctx']['error']}.")
        else:
            of_values.setdefault(parameter, []).append(problem)
    return " ".join([*lines, *(_of_value(parameter, problems) for parameter, problems in of_values.items())])


def _as_typed(name: str, path: Sequence[str], given: Mapping[str, Any]) -> str:
    """The name of a parameter of the block as the user gave it: `fit` for `features.fit` where that is a main one."""
    fields = [part for part in path if not _KIND.fullmatch(part)]
    is_main = len(fields) == 1 and fields[0] in given and fields[0] not in (given.get(name) or {})
    return fields[0] if is_main else ".".join([name, *fields])


def _of_value(parameter: str, problems: Sequence[Any]) -> str:
    """What is wrong with a value; where it may be of several kinds, there is a problem with each kind."""
    messages = [problem["msg"][0].lower() + problem["msg"][1:] for problem in problems]
    others = [message.removeprefix("input should be ") for message in messages[1:]]
    words = [word for each in problems for word in _QUOTED.findall(str(each.get("ctx", {}).get("expected", "")))]
    value = problems[0]["input"]
    hint = perhaps(value, words).strip() if isinstance(value, str) else ""
    return f"{parameter}={value!r}: {', or '.join([messages[0], *others])}" + (f"; {hint}" if hint else ".")
