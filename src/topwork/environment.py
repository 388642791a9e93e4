"""Environment variables that libraries read once, when they are imported: set before any of them is.

`topwork/__init__.py` calls `prepare`, so it runs before any other code of Topwork; Kedro calls it too, before it loads
its plugins (entry point `kedro.init`), since one of them imports MLflow.
"""

from __future__ import annotations

import os
import sys
from types import TracebackType

_NO_TELEMETRY = {
    "DO_NOT_TRACK": "true",  # Kedro takes any value, MLflow this word alone
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "KEDRO_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime from 1.32 on: its own switch works only after the first upload
}
_OPENVINO_TELEMETRY = "openvino_telemetry"

_QUIET = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",  # it announces the tables of a new database
}
"""What libraries tell about themselves; they read it when they are imported."""

_WAITING = {
    "OMP_WAIT_POLICY": "passive",
}
"""Threads of OpenMP wait asleep, not in a busy loop. On a machine that is busy with other programs a training step is
then five times as fast, on a quiet one as fast as before (`docs/decisions/0017-busy-machines.md`)."""


def start() -> None:
    """Kedro's entry point: `prepare`, and no trace where Ctrl-C comes before there is anything to stop."""
    prepare()
    usual = sys.excepthook

    def shown(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print("Stopped.", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = shown


def prepare() -> None:
    """Switch off what libraries would send out, whatever the user's environment says; let idle threads sleep.

    The user's own `OMP_WAIT_POLICY` and `MLFLOW_LOGGING_LEVEL` are respected.
    """
    os.environ.update(_NO_TELEMETRY)
    for name, value in {**_WAITING, **_QUIET}.items():
        os.environ.setdefault(name, value)
    # OpenVINO reports its import through this package; without it, a stub of its own takes over.
    sys.modules.setdefault(_OPENVINO_TELEMETRY, None)  # type: ignore[arg-type]
    if "mlflow" in sys.modules:  # imported before, by a program that loads a model of ours
        from mlflow.telemetry import set_telemetry_client

        set_telemetry_client()  # which looks at the environment again
