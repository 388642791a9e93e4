"""Writes the file with which a run can be repeated: `kedro run --config run.yml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from topwork.run.preflight import FOLDERS

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
        name: str(project / value) if name in FOLDERS else value
        for name, value in parameters.items()
        if value is not None
    }
    return str(yaml.safe_dump({"run": options}, sort_keys=False, allow_unicode=True))
