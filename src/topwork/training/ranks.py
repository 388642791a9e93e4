"""Training on several processes, which are numbered by rank and learn one network together.

`trained_together` starts them on this machine (`processes=N`), or takes those that torchrun or Slurm started on several
machines: the first one then runs the whole program, and the others `follow` it. Every rank does the same training on
its share of each batch (DistributedDataParallel); the first one alone writes checkpoints, and its progress is shown.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from functools import cache
from inspect import signature
from itertools import count
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TypeVar

import cloudpickle
import torch
from torch import Tensor, distributed, nn
from torch.distributed.rendezvous import rendezvous

from topwork.core.arrays import Floats
from topwork.core.errors import DefectError, InputError, MachineError
from topwork.models.engines.hardware import accelerator
from topwork.workers import cores, started_by_launcher
from topwork.workers.crew import Outcome

A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")

_RESTARTS = 16  # of all ranks, from the last checkpoint, after one of them died
_SILENCE = timedelta(minutes=5)  # after which a rank counts as lost; on a busy machine a step takes many seconds
_PATIENCE = timedelta(days=30)  # of the followers, while the first rank computes features
_END = b"end"
_PROGRESS = "topwork.core.progress"

_log = logging.getLogger(__name__)
_asked: ContextVar[int] = ContextVar("processes", default=1)
_trainings = count()  # number of each training that this process leads


@contextmanager
def processes(number: int) -> Iterator[None]:
    """A context in which networks are trained on so many processes of this machine."""
    token = _asked.set(number)
    try:
        yield
    finally:
        _asked.reset(token)


def trained_together(train: Callable[[A], R], job: A) -> R:
    """The result of ``train(job)`` on the first rank; all ranks call it with the same job, which is sent to them.

    Raises:
        InputError: the training raised it.
        MachineError: ranks died again and again.

    """
    if started_by_launcher():
        _log.info("%s processes train together, as they were started", os.environ["WORLD_SIZE"])
        return _leading(train, job)
    if _asked.get() > 1:
        _log.info("%d processes of this machine train together", _asked.get())
        return _launched(train, job, _asked.get())
    return train(job)


# ---- what a training asks


def rank() -> int:
    """Number of this process among those that train together; 0 if it trains alone."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def ranks() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(items: S) -> S:
    """The items of this rank, of a list or an array: every n-th one."""
    return items[rank() :: ranks()]  # type: ignore[index,no-any-return]


def agreed(value: S) -> S:
    """The value of the first rank, on all ranks: what was measured differs, and decides how a training goes on."""
    if ranks() == 1:
        return value
    box = [value]
    distributed.broadcast_object_list(box, src=0)
    return box[0]


def gathered(mine: Sequence[Floats]) -> list[Floats]:
    """The arrays of all ranks, each of which computed its `share`, in the order before it was shared."""
    if ranks() == 1:
        return list(mine)
    of_ranks: list[Sequence[Floats]] = [[] for _ in range(ranks())]
    distributed.all_gather_object(of_ranks, list(mine))
    return [of_ranks[place % ranks()][place // ranks()] for place in range(sum(map(len, of_ranks)))]


def learning_together(network: nn.Module, *, some_unused: bool) -> nn.Module:
    """The network, whose gradients are averaged over all ranks; only what learns now is sent.

    ``some_unused``: the loss may not depend on all that learns.
    """
    if ranks() == 1:
        return network
    together = nn.parallel.DistributedDataParallel
    newer = "forward_sync_buffers" in signature(together).parameters  # the other name is deprecated from torch 2.15 on
    own_buffers: dict[str, Any] = {"forward_sync_buffers" if newer else "broadcast_buffers": False}
    return together(network, find_unused_parameters=some_unused, **own_buffers)


def average_buffers(network: nn.Module) -> None:
    """Give all ranks the mean of their buffers: statistics of norms that learn, each from its share of the batches."""
    if ranks() == 1:
        return
    for value in network.buffers():
        if value.is_floating_point():
            distributed.all_reduce(value)
            value.div_(ranks())


def weighted(loss: Tensor, mine: int, everybody: int) -> Tensor:
    """The loss, so that its mean over the ranks is the mean over the whole batch, also where shares differ by one."""
    return loss if ranks() == 1 else loss * (mine * ranks() / everybody)


# ---- ranks that this process starts


def _launched(train: Callable[[A], R], job: A, number: int) -> R:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    how = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=number,
        run_id="topwork",
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        local_addr="127.0.0.1",
        max_restarts=_RESTARTS,
        signals_to_handle="SIGHUP",  # Ctrl-C and SIGTERM end a training as they end everything else
    )
    for name in ("torch.distributed.elastic", "torch.multiprocessing"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a rank that starts again says so itself
    told = torch.multiprocessing.get_context("spawn").Queue()
    listener = QueueListener(told, _Here())
    hung_up = signal.getsignal(signal.SIGHUP)
    listener.start()
    try:
        results = elastic_launch(how, _rank_of_many)(cloudpickle.dumps((train, job)), told)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        raise MachineError(
            f"The processes that train together died {_RESTARTS + 1} times, last with: {_last_line(failure.message)} "
            "What was finished is kept; the same command goes on. Fewer processes need less memory."
        ) from error
    finally:
        listener.stop()
        signal.signal(signal.SIGHUP, hung_up)
    outcome: Outcome = cloudpickle.loads(results[0])
    return outcome.value  # type: ignore[no-any-return]


def _rank_of_many(content: bytes, told: Any) -> bytes:
    """The outcome of the training, on the first rank; a lost rank raises, so that the launcher starts all again."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it comes from the launcher when that is gone
    first = os.environ["RANK"] == "0"
    ours = logging.getLogger("topwork")
    ours.propagate = False  # what the first rank says is said by the launcher's process
    if first:
        ours.addHandler(QueueHandler(told))
        logging.getLogger(_PROGRESS).setLevel(logging.INFO)
        logging.getLogger(_PROGRESS).addHandler(QueueHandler(told))
        if restarts := int(os.environ["TORCHELASTIC_RESTART_COUNT"]):
            _log.warning("A process died (%d so far): all go on from the checkpoint.", restarts)
    train, job = cloudpickle.loads(content)
    with _together("training"):
        outcome = _outcome(train, job)
    return cloudpickle.dumps(outcome) if first else b""


class _Here(logging.Handler):
    """Hands the records of another process to this process's loggers."""

    def handle(self, record: logging.LogRecord) -> bool:
        logging.getLogger(record.name).handle(record)
        return True


# ---- ranks that torchrun or Slurm started


def follow() -> None:
    """Take part in the trainings of the first rank, until it ends."""
    number = 0
    while (content := _common_store().get(f"training/{number}")) != _END:
        train, job = cloudpickle.loads(content)
        with _together(f"training/{number}"):
            _outcome(train, job)
        number += 1


def dismiss_followers() -> None:
    """Let the other ranks end, when the program of the first one has ended."""
    if started_by_launcher():
        _common_store().set(f"training/{next(_trainings)}", _END)


def _leading(train: Callable[[A], R], job: A) -> R:
    name = f"training/{next(_trainings)}"
    _common_store().set(name, cloudpickle.dumps((train, job)))
    with _together(name):
        return _outcome(train, job).value  # type: ignore[no-any-return]


@cache
def _common_store() -> Any:
    """Values that all ranks see. The launcher's store outlives a rank, so each restart has a part of its own."""
    store, _, _ = next(iter(rendezvous("env://", timeout=_PATIENCE)))
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return distributed.PrefixStore(f"restart/{restart}", store)  # type: ignore[attr-defined]


# ---- both


@contextmanager
def _together(name: str) -> Iterator[None]:
    """A context in which this process is one of those that train together."""
    local = int(os.environ.get("LOCAL_RANK", os.environ["RANK"]))
    torch.set_num_threads(max(1, cores() // int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))))
    on_gpu = accelerator() == "cuda"
    if on_gpu:
        torch.cuda.set_device(local % torch.cuda.device_count())
    distributed.init_process_group(
        "nccl" if on_gpu else "gloo",
        timeout=_SILENCE,
        store=distributed.PrefixStore(name, _common_store()),  # type: ignore[attr-defined]
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    try:
        yield
    finally:
        distributed.destroy_process_group()


def _outcome(train: Callable[[A], R], job: A) -> Outcome:
    """What the training returned, or the user's mistake; any other error ends this rank."""
    try:
        return Outcome(train(job), None)
    except (InputError, DefectError) as error:
        return Outcome(None, error)


def _last_line(message: Any) -> str:
    text = str(message.get("message", message) if isinstance(message, dict) else message).strip()
    return text.splitlines()[-1] if text else "no message."
