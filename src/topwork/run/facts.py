"""How a run was started, for its report: the command, the settings that are no defaults, and the versions."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import DataCatalog

from topwork.core.parameters import flattened
from topwork.run.configuration import Configuration, load_configuration
from topwork.run.preflight import FOLDERS
from topwork.run.versions import versions

_FACTS = "run_facts"
_IN_A_FILE = "kedro run --config run.yml"  # which MLflow keeps of each run
_DEEPEST = 1  # dots in a name that can be typed


def keep_facts(catalog: DataCatalog, options: Mapping[str, Any], configuration: Configuration) -> None:
    """Save how this run was started, before its first node."""
    settings = {name: str(value) for name, value in changed_settings(configuration).items()}
    catalog.save(_FACTS, {"command": command_of(options), "settings": settings, "versions": versions()})


def command_of(options: Mapping[str, Any]) -> str:
    """The command with these options; of a value that cannot be typed (it holds a comma), the one with `run.yml`."""
    given = dict(flattened(options["params"]))
    if any("," in str(value) or name.count(".") > _DEEPEST for name, value in given.items()):
        return _IN_A_FILE
    env = ["--env", str(options["env"])] if options["env"] else []
    params = ["--params", ",".join(f"{name}={value}" for name, value in given.items())] if given else []
    return shlex.join(["kedro", "run", *env, *params])


def changed_settings(configuration: Configuration) -> dict[str, Any]:
    """The parameters that the command or the environment has set to another value than the default, without folders."""
    conf_source = Path(configuration.loader.conf_source)
    default = _settings(conf_source, "base")
    of_env, given = _settings(conf_source, configuration.loader.env), dict(flattened(configuration.given))
    main = {name for name in of_env if "." not in name and of_env[name] != default.get(name)}
    return {
        name: value
        for name, value in {**of_env, **given}.items()
        if value != default.get(name) and name not in FOLDERS and (name in given or not _follows(name, main))
    }


def _settings(conf_source: Path, env: str | None) -> dict[str, Any]:
    """The main parameters and those of the blocks, as they are in an environment."""
    loader = load_configuration(conf_source, env, {})
    return dict(flattened({**loader["globals"], **loader["parameters"]}))


def _follows(name: str, main: set[str]) -> bool:
    """Whether a parameter of a block takes its value from a main parameter of the same name."""
    return name.rpartition(".")[2] in main and "." in name
