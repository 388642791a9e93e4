"""Kedro's settings for this project: https://docs.kedro.org/en/stable/configure/project_setting/."""

from topwork.run.configuration import CONFIG_LOADER_ARGS as _CONFIG_LOADER_ARGS
from topwork.run.configuration import ConfigLoader as _ConfigLoader
from topwork.run.hooks import display, tracking

HOOKS = (display, tracking)
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",)  # `tracking` takes its place
CONFIG_LOADER_CLASS = _ConfigLoader
CONFIG_LOADER_ARGS = _CONFIG_LOADER_ARGS
