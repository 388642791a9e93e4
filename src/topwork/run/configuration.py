"""How the configuration in `conf/` is read; shared by Kedro's settings and by the `run` command's early checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    # Kedro's default merge drops the sibling keys of an overridden one.
    "merge_strategy": {"parameters": "soft", "globals": "soft", "mlflow": "soft"},
}


def load_configuration(conf_source: Path, env: str | None, runtime_params: dict[str, Any]) -> OmegaConfigLoader:
    """A loader that sees what the run will see."""
    return OmegaConfigLoader(conf_source=str(conf_source), env=env, runtime_params=runtime_params, **CONFIG_LOADER_ARGS)
