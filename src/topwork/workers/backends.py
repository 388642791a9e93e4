"""Where the workers are: processes of this machine (loky), or a cluster of Ray or Dask."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from importlib.util import find_spec
from threading import Lock
from typing import Any

from topwork.core.errors import InputError, MachineError
from topwork.workers.crew import Crew, Job, Outcome, working
from topwork.workers.pinning import cores, pin

_IDLE = 60  # seconds after which an idle worker of loky ends by itself
_THIS_CLUSTER = "auto"  # Ray's word for the cluster that this machine belongs to
_PATIENCE = 20  # seconds until a cluster is said not to answer
_one_job = Lock()


@contextmanager
def hired(backend: str, count: int, cluster: str | None, threads: int | None) -> Iterator[None]:
    """A context in which work is shared out among workers.

    Args:
        backend: key of `BACKENDS`.
        count: number of workers.
        cluster: address of a running cluster; None: workers on this machine.
        threads: of each worker; None: its share of this machine's cores, and one in a cluster.

    Raises:
        InputError: the backend is not installed, or the cluster is too small.
        MachineError: the cluster does not answer.

    """
    each = threads or (1 if cluster else max(1, cores() // count))
    with BACKENDS[backend](count, cluster, each) as crew:
        token = working.set(crew)
        try:
            yield
        finally:
            working.reset(token)


@contextmanager
def _loky(count: int, cluster: str | None, threads: int) -> Iterator[Crew]:
    from joblib.externals.loky import ProcessPoolExecutor
    from joblib.externals.loky.process_executor import BrokenProcessPool

    pool = ProcessPoolExecutor(max_workers=count, timeout=_IDLE)

    def submit(job: Job) -> Future[Outcome]:
        nonlocal pool
        try:
            return pool.submit(_do, job, threads)  # type: ignore[no-any-return]
        except BrokenProcessPool:  # a worker died: the others ended with it
            pool = ProcessPoolExecutor(max_workers=count, timeout=_IDLE)
            return pool.submit(_do, job, threads)  # type: ignore[no-any-return]

    try:
        yield Crew(count, threads, submit, lambda error: isinstance(error, BrokenProcessPool), "loky")
    finally:
        pool.shutdown(wait=True, kill_workers=True)


@contextmanager
def _ray(count: int, cluster: str | None, threads: int) -> Iterator[Crew]:
    _check_installed("ray", "ray")
    import ray

    # `local`, since Ray would otherwise join a cluster that happens to run on this machine
    here: dict[str, Any] = {"address": "local", "num_cpus": count * threads, "include_dashboard": False}
    where = {"address": cluster} if cluster else here
    if cluster and cluster != _THIS_CLUSTER:
        _check_listening("Ray", cluster)  # Ray itself would wait for ever
    try:
        ray.init(**where, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        hint = " If the cluster asks for a token, set RAY_AUTH_MODE=token here too." if cluster else ""
        raise _silent("Ray", cluster, error, hint) from error
    try:
        found = ray.cluster_resources()
        _check_size(int(found.get("CPU", 0)) // threads, count, "ray")
        perform = ray.remote(max_retries=0, num_cpus=threads, num_gpus=min(1, found.get("GPU", 0)))(_do)
        yield Crew(
            count,
            threads,
            lambda job: perform.remote(job, threads).future(),
            lambda error: isinstance(error, ray.exceptions.RayError),
            joblib=None,  # its backend for Ray would start other workers for every few fits, for seconds
        )
    finally:
        ray.shutdown()


@contextmanager
def _dask(count: int, cluster: str | None, threads: int) -> Iterator[Crew]:
    _check_installed("distributed", "dask")
    import dask
    from distributed import Client, KilledWorker, LocalCluster

    # A part that ends a worker comes back at once; `shared_out` decides whether it is done again.
    dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.logging": {"distributed": "critical"}})
    local = {"n_workers": count, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    _silence()
    if cluster:
        _check_listening("Dask", cluster)
    try:
        client = Client(cluster, timeout=_PATIENCE) if cluster else Client(LocalCluster(**local))
    except OSError as error:
        raise _silent("Dask", cluster, error) from error
    try:
        if not cluster:
            client.run(_silence)
        _check_size(len(client.scheduler_info(n_workers=-1)["workers"]), count, "dask")
        pool = client.get_executor(pure=False, retries=0)
        yield Crew(
            count,
            threads,
            lambda job: pool.submit(_do, job, threads),
            lambda error: isinstance(error, KilledWorker),
            "dask",
        )
    finally:
        if client.cluster is not None:
            client.cluster.close()
        client.close()


BACKENDS: dict[str, Callable[[int, str | None, int], AbstractContextManager[Crew]]] = {
    "loky": _loky,
    "ray": _ray,
    "dask": _dask,
}
"""The backends by name."""


def _silence() -> None:
    """Keep Dask's engine quiet: what matters comes back as an error."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


def _do(job: Job, threads: int) -> Outcome:
    """The outcome of a job, in a worker. A process does one at a time, however many threads Dask gives it."""
    with _one_job:
        pin(threads)
        return Outcome.of(job)


def _check_installed(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise InputError(f"backend={extra}: not installed. `pip install 'topwork[{extra}]'`, or leave out backend.")


def _check_listening(engine: str, address: str) -> None:
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"cluster={address}: give host and port, such as {port or 'localhost'}:8786.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise _silent(engine, address, error) from error


def _check_size(there: int, count: int, backend: str) -> None:
    if there < count:
        raise InputError(f"workers={count}: the {backend} cluster has room for {there} of them. Give workers={there}.")


def _silent(engine: str, cluster: str | None, error: Exception, hint: str = "") -> MachineError:
    where = f"cluster={cluster}" if cluster else "this machine"
    reason = str(error).strip().splitlines()[0].rstrip(".")
    return MachineError(f"{engine} does not answer ({where}): {reason}.{hint}")
