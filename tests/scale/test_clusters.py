"""Workers in a cluster that runs already, on this machine: Dask's scheduler with a worker, and a node of Ray."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.conftest import PROJECT
from tests.scale.conftest import free_port, wait_until
from topwork.core.errors import InputError, MachineError
from topwork.workers import cores, current_crew, hired, shared_out

PARTS = [range(start, start + 4) for start in range(0, 24, 4)]
_ENVIRONMENT = {"PYTHONPATH": str(PROJECT)}  # the work of these tests is known by its name
_RAY = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}


def look(items: Sequence[int]) -> tuple[int, float, float, int, int]:
    start = time.time()
    time.sleep(0.05)
    return sum(items), start, time.time(), os.getpid(), cores()


@contextmanager
def serving(*command: str, log: Path) -> Iterator[None]:
    program = str(Path(sys.executable).with_name(command[0]))
    environment = {**os.environ, **_RAY, **_ENVIRONMENT}
    with log.open("wb") as written:
        process = subprocess.Popen([program, *command[1:]], stdout=written, stderr=written, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with one worker, a process that takes two tasks at a time."""
    pytest.importorskip("distributed", reason="distributed is not installed (`make test-scale` installs it)")
    folder, address = tmp_path_factory.mktemp("dask"), f"127.0.0.1:{free_port()}"
    log = folder / "scheduler"
    scheduler = ("dask", "scheduler", "--host", "127.0.0.1", "--port", address.split(":")[1], "--no-dashboard")
    worker = ("dask", "worker", f"tcp://{address}", "--nworkers", "1", "--nthreads", "2", "--no-dashboard")
    with ExitStack() as running:
        running.enter_context(serving(*scheduler, log=log))
        wait_until(lambda: b"Scheduler at" in log.read_bytes(), "Dask's scheduler")
        running.enter_context(serving(*worker, "--local-directory", str(folder), log=folder / "worker"))
        wait_until(lambda: b"Registered to" in (folder / "worker").read_bytes(), "Dask's worker")
        yield f"tcp://{address}"


@pytest.fixture(scope="module")
def ray_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a node of Ray with two cores."""
    pytest.importorskip("ray", reason="ray is not installed (`make test-scale` installs it)")
    folder, port = tmp_path_factory.mktemp("ray"), free_port()
    command = ["ray", "start", "--head", "--block", "--node-ip-address", "127.0.0.1", "--port", str(port)]
    command += ["--num-cpus", "2", "--include-dashboard", "false", "--disable-usage-stats"]
    command += ["--min-worker-port", "0", "--max-worker-port", "0"]  # any that is free, as all others
    with pytest.MonkeyPatch.context() as patch, serving(*command, log=folder / "log"):
        for name, value in _RAY.items():
            patch.setenv(name, value)
        wait_until(lambda: b"runtime started" in (folder / "log").read_bytes(), "Ray")
        yield f"127.0.0.1:{port}"


def check_work_in(backend: str, cluster: str, workers: int) -> None:
    with hired(backend, workers, cluster, None):
        crew = current_crew()
        assert crew
        found = {tuple(items): seen for items, seen in shared_out(crew, lambda items: partial(look, items), PARTS)}
    assert {items: seen[0] for items, seen in found.items()} == {tuple(items): sum(items) for items in PARTS}
    assert {threads for *_, threads in found.values()} == {1}
    for process in {seen[3] for seen in found.values()}:
        assert process != os.getpid()
        ended = 0.0
        for start, end in sorted(seen[1:3] for seen in found.values() if seen[3] == process):
            assert start >= ended  # one at a time
            ended = end


def test_work_is_done_in_a_running_cluster_of_dask_one_part_a_process(dask_cluster: str) -> None:
    check_work_in("dask", dask_cluster, 1)


def test_work_is_done_in_a_running_cluster_of_ray(ray_cluster: str) -> None:
    check_work_in("ray", ray_cluster, 2)


@pytest.mark.usefixtures("ray_cluster")
def test_ray_on_this_machine_does_not_join_a_cluster_that_runs_beside_it() -> None:
    with hired("ray", 3, None, 1):  # one more than the cluster has room for
        crew = current_crew()
        assert crew
        parts = shared_out(crew, lambda items: partial(look, items), PARTS)
        assert sum(seen[0] for _, seen in parts) == sum(map(sum, PARTS))


@pytest.mark.parametrize(("backend", "room"), [("dask", 1), ("ray", 2)])
def test_a_cluster_that_is_too_small_is_refused_with_its_size(
    backend: str, room: int, request: pytest.FixtureRequest
) -> None:
    cluster = request.getfixturevalue(f"{backend}_cluster")
    with (
        pytest.raises(InputError, match=f"room for {room} of them. Give workers={room}"),
        hired(backend, 3, cluster, 1),
    ):
        pass


def test_a_cluster_of_ray_that_does_not_answer_is_told_in_one_line() -> None:
    pytest.importorskip("ray", reason="ray is not installed (`make test-scale` installs it)")
    with (
        pytest.raises(MachineError, match=r"Ray does not answer .cluster=127.0.0.1:9"),
        hired("ray", 2, "127.0.0.1:9", 1),
    ):
        pass


@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_an_address_without_a_port_is_refused_with_an_example(backend: str) -> None:
    pytest.importorskip({"dask": "distributed"}.get(backend, backend))
    with (
        pytest.raises(InputError, match=r"cluster=127.0.0.1: .* such as 127.0.0.1:8786"),
        hired(backend, 2, "127.0.0.1", 1),
    ):
        pass
