"""Reads the configuration in `conf/`, for Kedro's settings and for the early checks of the `run` command."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from kedro.io import DataCatalog

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
        """The folder for all outputs of a run."""
        return self.project / str(self.knobs["data"])

    @property
    def store(self) -> Path:
        """The folder of the cached features."""
        return self.project / str(self.knobs["store"])

    def open_catalog(self, slot: str = "") -> DataCatalog:
        """The catalog of the run, with paths that do not depend on the current folder.

        ``slot`` is the folder of the results on other features than the chosen ones (`Candidate.slot`).
        """
        folders = {"data": self.data, "store": self.store, **({"slot": slot} if slot else {})}
        if self.knobs["images"]:
            folders["images"] = self.project / self.knobs["images"]
        loader = load_configuration(
            Path(self.loader.conf_source),
            self.loader.env,
            {**self.given, **{name: str(folder) for name, folder in folders.items()}},
        )
        return DataCatalog.from_config(loader["catalog"])


def read_configuration(
    project: Path, conf_source: Path, env: str | None, runtime_params: Mapping[str, Any]
) -> Configuration:
    """The configuration with the parameters of the command."""
    return Configuration(project, load_configuration(conf_source, env, runtime_params), runtime_params)


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
