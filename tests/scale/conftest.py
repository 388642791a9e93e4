"""Real servers, started for the tests on this machine alone; a test is skipped with the reason where one is missing."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.conftest import PROJECT

_PATIENCE = 120  # seconds


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(ready: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + _PATIENCE
    while not ready():
        assert time.monotonic() < end, f"{what} did not start"
        time.sleep(0.2)


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URI of a PostgreSQL server with an empty database; it refuses to run as root, so it gets a user of its own."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders:
        pytest.skip("no PostgreSQL server (Debian: apt-get install postgresql)")
    if find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed (`make test-scale` installs it)")
    user = _server_user()
    folder = tmp_path_factory.mktemp("postgresql")
    data, port = Path("/tmp") / f"topwork-postgresql-{os.getpid()}", free_port()
    data.mkdir(mode=0o700)
    if user:
        shutil.chown(data, user)
    as_user = ["runuser", "-u", user, "--"] if user else []
    run = [*as_user, str(folders[-1] / "initdb"), "-A", "trust", "-U", "topwork", "-D", str(data)]
    subprocess.run(run, check=True, capture_output=True, cwd="/")
    command = [
        *as_user,
        str(folders[-1] / "postgres"),
        "-D",
        str(data),
        "-p",
        str(port),
        "-k",
        str(data),
        "-h",
        "127.0.0.1",
    ]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
    try:
        isready = [str(folders[-1] / "pg_isready"), "-h", "127.0.0.1", "-p", str(port)]
        wait_until(lambda: subprocess.run(isready, check=False, capture_output=True).returncode == 0, "PostgreSQL")
        yield f"postgresql://topwork@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(data, ignore_errors=True)


def _server_user() -> str:
    """The user that the server runs as if we are root; the package of PostgreSQL makes it."""
    if os.getuid() != 0:
        return ""
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"


@pytest.fixture(scope="session")
def mlflow_server(postgresql: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an MLflow server on PostgreSQL, through which the clients also send their artifacts."""
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    command += ["--backend-store-uri", postgresql, "--artifacts-destination", str(folder / "artifacts")]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: _answers(f"{address}/health"), "MLflow's server")
        yield address
    finally:
        server.terminate()
        server.wait(60)


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except (URLError, OSError):
        return False


def run_at_once(commands: Sequence[Sequence[str]], uri: str) -> list[str]:
    """Output of `kedro run` with these arguments, each in a process of its own, all at the same time."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "topwork", "run", *command],
            cwd=PROJECT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for command in commands
    ]
    told = [process.communicate()[0] for process in started]
    for process, output in zip(started, told, strict=True):
        assert process.returncode == 0, output
    return told
