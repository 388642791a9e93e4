"""What a run is called in MLflow, and the file with which it can be repeated: `kedro run --config run.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from topwork.core.parameters import flattened
from topwork.run.configuration import absolute
from topwork.run.preflight import FOLDERS

_PLACES = {*FOLDERS, "cache_gigabytes", "model", "compare_runs", "layout", "example"}
_LONGEST_NAME = 120  # characters
_OPTIONS = ("env", "tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")


def run_file(command: Mapping[str, Any], parameters: Mapping[str, Any], project: Path) -> str:
    """The options and all parameters of the run as YAML."""
    options: dict[str, Any] = {
        name: ",".join(value) if isinstance(value, list | tuple) else value
        for name in _OPTIONS
        if (value := command.get(name))
    }
    pipelines = command.get("pipelines") or command.get("pipeline_names")
    if pipelines:
        options["pipelines"] = ",".join(pipelines)
    options["params"] = {
        name: absolute(str(value), project) if name in FOLDERS else value
        for name, value in parameters.items()
        if value is not None
    }
    return str(yaml.safe_dump({"run": options}, sort_keys=False, allow_unicode=True))


def run_name(images: str, command: Mapping[str, Any], given: Mapping[str, Any] | None) -> str:
    """The name of a run: its images, its pipelines if they are not the usual ones, and what the command changed.

    For example `flowers · image_size=128, finetune.minutes=5`.
    """
    pipelines = [name for name in command.get("pipelines") or [] if name != "__default__"]
    chosen = {name: value for name, value in flattened(command.get("params") or given or {}) if name not in _PLACES}
    changes = ", ".join(f"{name}={value}" for name, value in chosen.items() if value is not None)
    name = " · ".join(part for part in (images, "+".join(pipelines), changes) if part)
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
