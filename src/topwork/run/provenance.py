"""The origin of a run (process, code and packages) as tags of an MLflow run."""

from __future__ import annotations

import getpass
import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psutil
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from topwork.run.versions import versions

_PID, _STARTED = "topwork.pid", "topwork.process_started"
_BOOT, _NAMESPACE, _MACHINE = "topwork.boot", "topwork.pid_namespace", "topwork.machine"
_FIRST_NAMESPACE = "pid:[4026531836]"  # of Linux outside of containers: a constant of the kernel
HOST_TAG = "topwork.host"
HOST = socket.gethostname()


def source_tags() -> dict[str, str]:
    """Tags with command, user and host, for a run that outlives this process."""
    return {
        MLFLOW_SOURCE_NAME: "kedro run",
        MLFLOW_SOURCE_TYPE: "PROJECT",
        MLFLOW_USER: _user(),
        HOST_TAG: HOST,
    }


def process_tags() -> dict[str, str]:
    """`source_tags`, and the process; they distinguish it from another one with the same process id."""
    return {
        **source_tags(),
        _PID: str(os.getpid()),
        _STARTED: _started(os.getpid()),
        **_place(),
    }


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that wrote these tags may still run; False only if it is known to have ended.

    A process in another container cannot be seen from here, and may have the same host name. It counts as alive.
    """
    here = _place()
    if any(tags.get(name) is None for name in (_PID, _STARTED, *here)) or tags[_MACHINE] != here[_MACHINE]:
        return True
    if tags[_BOOT] != here[_BOOT]:  # the machine was restarted; but in a container it may be another machine
        return _FIRST_NAMESPACE not in {tags[_NAMESPACE]} & {here[_NAMESPACE]}
    if tags[_NAMESPACE] != here[_NAMESPACE]:
        return True
    return _started(int(tags[_PID])) == tags[_STARTED]


def _place() -> dict[str, str]:
    """Tags with the machine id, the boot id, and the process id namespace of this process."""
    return {
        _MACHINE: _line("/etc/machine-id") or HOST,
        _BOOT: _line("/proc/sys/kernel/random/boot_id") or str(round(psutil.boot_time())),
        _NAMESPACE: _link("/proc/self/ns/pid") or _FIRST_NAMESPACE,
    }


def _started(pid: int) -> str:
    """Start time of the process: in ticks since boot on Linux, otherwise in seconds; `gone` if there is no process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[19]  # `starttime`, the 22nd field of proc_pid_stat(5)
    except (OSError, IndexError):
        pass
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return "gone"


def _line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the user id has no name, as in many containers
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def code_tags(project: Path) -> dict[str, str]:
    """Versions of packages that affect results; commit, branch and dirty flag if the project is a git checkout."""
    of_packages = {f"version.{package}": number for package, number in versions().items()}

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=project, capture_output=True, text=True, check=True).stdout

    try:
        dirty = bool(git("status", "--porcelain").strip())
        return {
            MLFLOW_GIT_COMMIT: git("rev-parse", "HEAD").strip(),
            MLFLOW_GIT_BRANCH: git("rev-parse", "--abbrev-ref", "HEAD").strip(),
            "topwork.git_dirty": str(dirty).lower(),
            **of_packages,
        }
    except (OSError, subprocess.CalledProcessError):
        return of_packages  # no repository, or no git
