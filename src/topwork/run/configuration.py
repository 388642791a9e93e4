"""Reads the configuration in `conf/`, for Kedro's settings and for the early checks of the `run` command."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import yaml
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.io import DataCatalog

from topwork.core.parameters import flattened
from topwork.datasets.remote import is_url, place, set_up

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    # Folders too: another project keeps the files of Topwork in one (docs/how-to/kedro-project.md).
    "config_patterns": {name: [f"{name}*", f"{name}*/**", f"**/{name}*"] for name in ("mlflow", "globals")},
    # Kedro's default merge drops the other keys of a block if one key is overridden.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}


class ConfigLoader(OmegaConfigLoader):
    """Kedro's loader, which reads and resolves each part once for all sessions with the same files and parameters.

    Kedro's own does it a hundred times in a run of two strategies, which takes a fifth of a small run.
    """

    def __init__(
        self,
        conf_source: str,
        env: str | None = None,
        runtime_params: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self._resolved = _parts_of((conf_source, env, repr(runtime_params), repr(options), _state(Path(conf_source))))
        super().__init__(conf_source, env, runtime_params, **options)

    def __getitem__(self, key: str) -> dict[str, Any]:
        """A copy of the resolved part, such as `parameters`."""
        if key == "credentials" or key in self:  # from the environment, or set by the program
            return super().__getitem__(key)
        if key not in self._resolved:
            self._resolved[key] = super().__getitem__(key)
        return deepcopy(self._resolved[key])

    def __setitem__(self, key: str, value: Any) -> None:
        """Put a part in place of the one in the files."""
        if key == "globals":  # the other parts refer to it
            self._resolved = {}
        super().__setitem__(key, value)


@lru_cache(maxsize=64)
def _parts_of(_source: tuple[Hashable, ...]) -> dict[str, Any]:
    """The parts that are resolved already."""
    return {}


def _state(conf_source: Path) -> Hashable:
    """What changes when a file of the configuration does; of a URL, nothing is known, and nothing is kept."""
    if not conf_source.exists():
        return object()
    files = sorted(conf_source.rglob("*")) if conf_source.is_dir() else [conf_source]
    return tuple((str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in files)


@dataclass(frozen=True)
class Configuration:
    """The configuration of the run: parameter blocks, main parameters, catalog, and absolute folders."""

    project: Path
    loader: ConfigLoader
    given: Mapping[str, Any]

    @cached_property
    def parameters(self) -> dict[str, Any]:
        """The parameter blocks as plain values."""
        return dict(self.loader["parameters"])

    @cached_property
    def knobs(self) -> dict[str, Any]:
        """The main parameters (`globals.yml`); values from the command have priority."""
        return {**self.loader["globals"], **self.given}

    @property
    def data(self) -> Path:
        """The folder for all outputs of a run; of a URL, its mirror on this machine."""
        return place(self._folder("data"))

    @property
    def store(self) -> Path:
        """The folder of the cached features; of a URL, its mirror on this machine."""
        return place(self._folder("store"))

    def open_catalog(self, slot: str = "") -> DataCatalog:
        """The catalog of the run, with paths that do not depend on the current folder.

        ``slot`` is the folder of the results on other features than the chosen ones (`Candidate.slot`).
        """
        names = [name for name in ("data", "store", "images") if self.knobs[name]]
        folders = {**{name: self._folder(name) for name in names}, **({"slot": slot} if slot else {})}
        loader = load_configuration(
            Path(self.loader.conf_source),
            self.loader.env,
            {**self.given, **folders},
        )
        return DataCatalog.from_config(loader["catalog"])

    def _folder(self, name: str) -> str:
        """The absolute path, or the URL, of the folder that a main parameter names."""
        return absolute(str(self.knobs[name]), self.project)


def read_configuration(
    project: Path, conf_source: Path, env: str | None, runtime_params: Mapping[str, Any]
) -> Configuration:
    """The configuration with the parameters of the command."""
    configuration = Configuration(project, load_configuration(conf_source, env, runtime_params), runtime_params)
    reach_storages(configuration.loader, configuration.knobs)
    return configuration


def reach_storages(loader: Mapping[str, Any], knobs: Mapping[str, Any]) -> None:
    """Give the datasets the credentials of object storages (`credentials.yml`, if there is one), and their cache."""
    credentials: dict[str, Any] = {}
    with suppress(MissingConfigException):
        credentials = dict(loader["credentials"])
    set_up(knobs.get("cache"), credentials)


def absolute(folder: str, start: Path) -> str:
    """The folder as an absolute path, which begins at ``start`` if it is relative; a URL stays as it is."""
    return folder if is_url(folder) else str(start / folder)


def load_configuration(conf_source: Path, env: str | None, runtime_params: Mapping[str, Any]) -> ConfigLoader:
    """A configuration loader with the same settings as in the run."""
    return ConfigLoader(
        conf_source=str(conf_source), env=env, runtime_params=dict(runtime_params), **CONFIG_LOADER_ARGS
    )


def following_parameters(conf_source: Path) -> frozenset[str]:
    """Dotted names of the parameters of blocks that have the value of a main parameter, by the files of `base`."""
    texts = (path.read_text(encoding="utf-8") for path in sorted((conf_source / "base").glob("parameters*.yml")))
    raw = (pair for text in texts for pair in flattened(yaml.safe_load(text) or {}))
    return frozenset(
        name for name, value in raw if "." in name and f"globals:{name.rpartition('.')[2]}}}" in str(value)
    )


def remove_files(catalog: DataCatalog, *names: str) -> None:
    """Remove the files of these catalog entries."""
    for name in names:
        dataset: Any = catalog[name]
        dataset.remove()
