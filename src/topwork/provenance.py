"""Where a run came from: process, code and packages, as tags of an MLflow run."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import psutil
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_USER

_PACKAGES = ("topwork", "kedro", "mlflow", "torch", "torchvision", "timm", "scikit-learn", "numpy")
_PID, _STARTED = "topwork.pid", "topwork.process_started"
HOST_TAG = "topwork.host"
HOST = socket.gethostname()


def process_tags() -> dict[str, str]:
    """Who runs it where, and what tells this process from a later one with the same number."""
    return {
        MLFLOW_SOURCE_NAME: "kedro run",
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_USER: getpass.getuser(),
        HOST_TAG: HOST,
        _PID: str(os.getpid()),
        _STARTED: f"{psutil.Process().create_time():.3f}",
    }


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that wrote these tags (on this host) still runs."""
    try:
        process = psutil.Process(int(tags[_PID]))
        return abs(process.create_time() - float(tags[_STARTED])) < 1
    except psutil.NoSuchProcess:
        return False


def code_tags(project: Path) -> dict[str, str]:
    """Versions of the packages that decide the numbers; commit and dirty flag where the project is a git checkout."""
    versions = {f"version.{package}": version(package) for package in _PACKAGES}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout

    try:
        dirty = bool(git("status", "--porcelain").strip())
        return {
            **versions,
            MLFLOW_GIT_COMMIT: git("rev-parse", "HEAD").strip(),
            "topwork.git_dirty": str(dirty).lower(),
        }
    except (OSError, subprocess.CalledProcessError):
        return versions  # no repository, or no git
