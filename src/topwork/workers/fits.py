"""Many short calls on the same large arrays, such as the fits of cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed, parallel_config
from threadpoolctl import threadpool_limits

from topwork.workers.crew import current_crew
from topwork.workers.pinning import pin

R = TypeVar("R")


def each_on_a_core(function: Callable[..., R], calls: Sequence[tuple[Any, ...]]) -> Iterator[R]:
    """Results of ``function`` for the arguments in ``calls``, in their order; a call computes on one core.

    Threads share the arrays. With workers, joblib sends them to these: to processes of this machine in a mapped file.
    """
    crew = current_crew()
    if crew is None or len(calls) == 1:
        yield from each_on_a_thread(function, calls)
    elif crew.joblib is None or crew.count == 1:  # joblib does the work of one worker in this process
        for future in [crew.submit(partial(function, *call)) for call in calls]:
            yield future.result().value
    else:
        with parallel_config(crew.joblib):
            of_workers = Parallel(n_jobs=min(crew.count, len(calls)), return_as="generator")
            yield from of_workers(delayed(_in_worker)(function, call, crew.threads) for call in calls)


def each_on_a_thread(function: Callable[..., R], calls: Sequence[tuple[Any, ...]]) -> Iterator[R]:
    """As `each_on_a_core`, but always in this process: for calls whose results are large, or that write to arrays."""
    with threadpool_limits(1):
        pool = Parallel(n_jobs=min(cpu_count(), len(calls)), backend="threading", return_as="generator")
        yield from pool(delayed(function)(*call) for call in calls)


def _in_worker(function: Callable[..., R], call: tuple[Any, ...], threads: int) -> R:
    pin(threads)
    return function(*call)
