"""Nothing leaves the machine: whole programs, started as users start them, are watched for what they connect to."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT

GUARD = """
import os, sys

def watch(event, details):
    if event in ("socket.connect", "socket.sendto"):
        address = details[1]
        if isinstance(address, tuple) and not str(address[0]).startswith(("127.", "::1", "localhost")):
            open(os.environ["CONNECTIONS"], "a").write(f"{event} {address}\\n")
    elif event == "socket.getaddrinfo" and details[0] not in (None, "", "localhost", "127.0.0.1", "::1"):
        open(os.environ["CONNECTIONS"], "a").write(f"{event} {details[:2]}\\n")

sys.addaudithook(watch)
"""
LOOPBACK = re.compile(r'"127\.|"::1"|inet_addr\("127\.')


class Watch:
    """Starts programs as a user would, with none of the variables that switch telemetry off, and lists connections."""

    def __init__(self, folder: Path) -> None:
        self.seen, self.trace, self.home = folder / "connections", folder / "trace", folder / "home"
        self.home.mkdir()
        (folder / "guard").mkdir()
        (folder / "guard" / "sitecustomize.py").write_text(GUARD)
        quiet = ("DO_NOT_TRACK", "TELEMETRY", "PYTEST", "CI")
        self.variables = {name: value for name, value in os.environ.items() if not any(word in name for word in quiet)}
        self.variables |= {
            "CONNECTIONS": str(self.seen),
            "PYTHONPATH": os.pathsep.join([str(folder / "guard"), str(PROJECT / "src")]),
            "HOME": str(self.home),
        }
        # what libraries do without Python, only the system sees
        strace = shutil.which("strace")
        watched = ["-f", "-qq", "--seccomp-bpf", "-e", "trace=connect", "-o", str(self.trace)]
        self.before = [strace, *watched] if strace else []

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        command = [*self.before, sys.executable, *arguments]
        environment = self.variables | variables
        return subprocess.Popen(
            command,
            cwd=PROJECT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **variables: str) -> str:
        with self.start(*arguments, **variables) as process:
            output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def connections(self) -> list[str]:
        by_python = self.seen.read_text().splitlines() if self.seen.exists() else []
        traced = self.trace.read_text().splitlines() if self.trace.exists() else []
        outward = [line for line in traced if "AF_INET" in line and not LOOPBACK.search(line)]
        return by_python + outward


@pytest.fixture
def watch(tmp_path: Path, tracking_uri: str) -> Watch:  # programs log to the test's own store, not to the user's
    folder = tmp_path / "watch"
    folder.mkdir()
    return Watch(folder)


@pytest.mark.slow
def test_a_run_and_a_prediction_connect_to_nothing(
    watch: Watch, kedro_after_a_run: Callable[..., Any], tmp_path: Path
) -> None:
    own = f"data={tmp_path / 'data'},store={tmp_path / 'features'},image_size=32,duplicates.image_size=32"
    own += ",evaluation.resamples=100,split.folds=3,strategies=logistic,features.engine=openvino"
    params = f"{own},images={tmp_path / 'images'},new_images={tmp_path / 'images'}"
    watch.run("-m", "kedro", "run", "--params", params)
    watch.run("-m", "kedro", "run", "--pipelines", "prediction", "--params", params)
    assert watch.connections() == []
    assert not list(watch.home.rglob("*evice*"))  # ONNX Runtime would leave an id here


@pytest.mark.slow
@pytest.mark.usefixtures("kedro_after_a_run")
def test_the_server_and_a_program_that_loads_the_model_connect_to_nothing(watch: Watch) -> None:
    with watch.start("-u", "-m", "topwork.serving", "models:/images@champion", "--port", "0") as server:
        assert server.stdout is not None
        try:
            said = []
            while not said or ("answers on" not in said[-1] and said[-1]):
                said.append(server.stdout.readline())
        finally:
            os.killpg(server.pid, signal.SIGKILL)
    assert "answers on" in said[-1], said
    program = "import mlflow; mlflow.pyfunc.load_model('models:/images@champion')"
    watch.run("-c", program)
    assert watch.connections() == []


@pytest.mark.slow
def test_onnx_runtime_and_openvino_stay_at_home(watch: Watch) -> None:
    watch.run("-c", "import topwork, onnxruntime.quantization, openvino, mlflow, time; time.sleep(3)")
    assert watch.connections() == []
    assert not list(watch.home.rglob("*"))


@pytest.mark.slow
def test_the_watch_sees_what_would_leave(watch: Watch) -> None:
    program = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('192.0.2.1', 9))"
    watch.run("-c", program)  # an address for documentation, and no packet: connecting a datagram socket sends none
    assert any("192.0.2.1" in line for line in watch.connections())
