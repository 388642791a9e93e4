"""Reads the configuration in `conf/`, for Kedro's settings and for the early checks of the `run` command."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.io import DataCatalog

from topwork.datasets.remote import is_url, place, set_up

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    # Kedro's default merge drops the other keys of a block if one key is overridden.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}


@dataclass(frozen=True)
class Configuration:
    """The configuration of the run: parameter blocks, main parameters, catalog, and absolute folders."""

    project: Path
    loader: OmegaConfigLoader
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


def load_configuration(conf_source: Path, env: str | None, runtime_params: Mapping[str, Any]) -> OmegaConfigLoader:
    """A configuration loader with the same settings as in the run."""
    return OmegaConfigLoader(
        conf_source=str(conf_source), env=env, runtime_params=dict(runtime_params), **CONFIG_LOADER_ARGS
    )


def remove_files(catalog: DataCatalog, *names: str) -> None:
    """Remove the files of these catalog entries."""
    for name in names:
        dataset: Any = catalog[name]
        dataset.remove()
