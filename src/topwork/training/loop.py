"""Trains one network: a fit consists of epochs, and an epoch consists of steps.

All random numbers depend only on the seed and on the number of the step or epoch. A training that continues from a
checkpoint therefore gives the same network as a training that was not interrupted.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn

from topwork.core.arrays import Floats, Integers
from topwork.core.candidates import LAST
from topwork.core.errors import InputError
from topwork.core.progress import record, report_progress
from topwork.models.engines.hardware import accelerator
from topwork.models.folding import foldable_norms, folded
from topwork.models.graft import Graft
from topwork.models.layer_groups import freeze, group_numbers
from topwork.scoring.metric import Answers, Metric
from topwork.scoring.metrics import losses, softmax
from topwork.training.calibration import fit_temperature
from topwork.training.class_balance import ClassWeight, balanced_order
from topwork.training.criterion import Criterion, Loss
from topwork.training.mixing import mix
from topwork.training.ranks import (
    agreed,
    average_buffers,
    gathered,
    learning_together,
    rank,
    ranks,
    share,
    weighted,
)
from topwork.training.samples import Samples, load_batches
from topwork.training.schedule import first_learning, group_rates, rate_factor
from topwork.training.state import TrainingState
from topwork.training.tempo import autocast, choose_precision, restored_afterwards

_log = logging.getLogger(__name__)

_LOOK_EVERY = 10  # steps between readings of the loss; each reading waits for the device
_SAVE_EVERY = 30.0  # seconds
_SAFETY = 0.9  # share of the available time that is planned
_TRIED, _TRIED_AT_LEAST, _TRIED_SECONDS = 40, 4, 2.0  # steps that are timed to estimate the total time
_MOMENTUM = 0.9
_SLOWER = 1.05  # the remaining steps may take this factor of the remaining seconds before steps are dropped
_BY_LOSS = ("accuracy", "log_loss")  # log-loss tells epochs apart with fewer images than accuracy needs
_TOO_SHORT = "%s: an epoch takes %.0f s, and %.0f s are left of `minutes`; a part of one is trained"


@dataclass(frozen=True)
class FitPlan:
    """How one network learns; ``first`` is the number of the first group of layers that learns.

    ``seconds`` is the planned time, including the scoring of ``scored_after`` images after the training. Before the
    first step, some steps are timed, and ``epochs`` is reduced if it does not fit into this time. If the machine then
    becomes slower and the training would take longer than ``limit`` (seconds), fewer steps are done.
    """

    epochs: float
    seconds: float | None
    limit: float | None
    scored_after: int
    batch_size: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    backbone_rate: float
    layer_decay: float
    first: int
    unfreeze_every: int
    batch_norm: str
    warmup: float
    clip: float | None
    label_smoothing: float
    loss: Loss
    class_weight: ClassWeight
    sampling: str
    mixup: float
    cutmix: float
    ema: float
    patience: int | None
    precision: str
    metric: Metric
    seed: int
    threads: int


@dataclass(frozen=True)
class TrainingSubset:
    """What one network learns from: samples by row and their class numbers ``truth`` ``[n]``.

    The network learns from the rows ``taught``; the rows ``inner`` choose the epoch, by the plan's metric. If ``inner``
    is empty, the weights after the last epoch are kept. With ``targets`` ``[n, c]`` the network learns these
    probabilities in place of the classes.
    """

    name: str
    samples: Samples
    truth: Integers
    taught: Integers
    inner: Integers
    targets: Floats | None = None


def fit(graft: Graft, subset: TrainingSubset, plan: FitPlan, state: TrainingState) -> None:
    """Train the graft from the point that ``state`` has reached; it ends with the weights chosen on the inner split.

    Raises:
        InputError: the loss is not finite; the message says what to try.

    """
    graft.to(accelerator(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.random.fork_rng(devices=[]):
        freeze(graft.trunk, graft.groups, plan.first, plan.batch_norm)
        if _is_over(plan, state):
            _log.debug("%s: trained before, taken as it was", subset.name)
        else:
            _learn(graft, subset, plan, state)
        graft.load_state_dict(state.chosen)
    graft.eval()


def steps_an_epoch(taught: Integers, batch_size: int) -> int:
    """Number of whole batches per epoch, at least 1; images that do not fill a batch are left out of this epoch."""
    return max(1, len(taught) // batch_size)


def class_scores(graft: Graft, samples: Samples, rows: Integers, batch_size: int, threads: int) -> Floats:
    """Class scores ``[len(rows), c]`` (float64) of the original images."""
    return graft.current_head().scores(bottleneck_features(graft, samples, rows, batch_size, threads))


def bottleneck_features(graft: Graft, samples: Samples, rows: Integers, batch_size: int, threads: int) -> Floats:
    """Input of the head for the original images, ``[len(rows), d]`` (float32)."""
    graft.eval()
    mine = []
    with torch.inference_mode():
        for _, inputs in load_batches(samples, share(_cut(rows, batch_size)), 0, threads):
            mine.append(graft.neck(graft.trunk_features(inputs.to(accelerator()))).cpu().numpy())
    return np.concatenate(gathered(mine))


def _learn(graft: Graft, subset: TrainingSubset, plan: FitPlan, state: TrainingState) -> None:
    """Train the remaining epochs, and write a checkpoint after each."""
    if len(_batches(subset, plan, 0)[0]) < ranks():
        raise InputError(f"processes={ranks()}: a batch has fewer images than that. Give fewer processes.")
    start = time.perf_counter()
    norms = foldable_norms(graft, subset.samples.batch(subset.taught[:2], 0).to(accelerator()))
    if state.begun:
        _log.info("%s: goes on after %d of %d steps", subset.name, state.step, state.steps)
    else:
        with folded(graft, norms):
            _begin(graft, subset, plan, state)
    optimizer = _optimizer(graft, plan, state.rate)
    state.restore(graft, optimizer)
    _tell(subset, plan, state, "")
    pace = _Pace(start - state.spent, state.step, time.perf_counter())
    while not _is_over(plan, state):
        with folded(graft, norms):
            facts = _epoch(graft, optimizer, subset, plan, state, pace)
        state.spent = time.perf_counter() - pace.began
        _score(graft, subset, plan, state, facts)
        state.keep(graft, optimizer)


def _begin(graft: Graft, subset: TrainingSubset, plan: FitPlan, state: TrainingState) -> None:
    """Set precision, learning rate and number of steps once, and score the network before the first step."""
    start = time.perf_counter()
    rows = _batches(subset, plan, epoch=0)[0]
    inputs = subset.samples.batch(rows, subset.samples.view_of(1)).to(accelerator())
    _set_training(graft, plan, epoch=plan.unfreeze_every * len(graft.groups))
    state.precision = agreed(choose_precision(graft, inputs, _truth(subset, rows), plan.precision))
    state.rate = plan.learning_rate
    a_step = _seconds_a_step(graft, subset, plan, state) if plan.seconds is not None and plan.epochs else 0.0
    scoring = time.perf_counter()
    _score(graft, subset, plan, state, {})
    scoring = time.perf_counter() - scoring
    an_epoch = steps_an_epoch(subset.taught, plan.batch_size)
    state.steps = round(plan.epochs * an_epoch)
    if plan.seconds is not None and plan.epochs:
        state.reserve = scoring / max(1, len(subset.inner)) * plan.scored_after
        left = _SAFETY * plan.seconds - state.reserve - (time.perf_counter() - start)
        left, state.reserve = agreed((left, state.reserve))
        affordable = agreed(_affordable(left, a_step, scoring, an_epoch))
        if affordable < an_epoch:
            _log.warning(_TOO_SHORT, subset.name, a_step * an_epoch + scoring, max(0.0, left))
        state.steps = min(state.steps, max(1, affordable))
    state.epochs = state.steps / an_epoch
    state.save()


def _affordable(seconds: float, a_step: float, scoring: float, an_epoch: int) -> int:
    """Number of steps that fit into the seconds, including the scoring after each epoch."""
    return int(max(0.0, seconds - scoring) / (a_step + scoring / an_epoch))


@dataclass(frozen=True)
class _Pace:
    """When a training began, less the time spent in earlier runs; first step and start time of the timing here."""

    began: float
    first_step: int
    timed_from: float

    def fitting(self, state: TrainingState, limit: float) -> int:
        """Total number of steps that fits into the limit at the speed so far, at most the planned number."""
        now = time.perf_counter()
        a_step = (now - self.timed_from) / max(1, state.step - self.first_step)  # including the scoring between epochs
        left = limit - (now - self.began)
        if a_step * (state.steps - state.step) <= _SLOWER * left:
            return state.steps
        return max(state.step, min(state.steps, state.step + int(left / a_step)))


def _seconds_a_step(graft: Graft, subset: TrainingSubset, plan: FitPlan, state: TrainingState) -> float:
    """Seconds of a step in the real loop, where loading and learning compete for the processor."""
    trial = copy(state)
    trial.steps = _TRIED * len(subset.taught)
    seconds: list[float] = []
    with restored_afterwards(graft):
        learner = _Learner(graft, _optimizer(graft, plan, state.rate), subset, plan, trial)
        batches = list(islice(_endless(subset, plan), _TRIED))
        start = time.perf_counter()
        for batch, inputs in _loaded(subset, batches, 1, plan):
            learner.step(inputs, _truth(subset, share(batch)), len(batch)).item()
            seconds.append(time.perf_counter() - start)
            start = time.perf_counter()
            if agreed(len(seconds) >= _TRIED_AT_LEAST and sum(seconds) > _TRIED_SECONDS):
                break
    return float(np.mean(seconds[1:]))  # without the first step, which waits for its images


def _epoch(
    graft: Graft,
    optimizer: torch.optim.Optimizer,
    subset: TrainingSubset,
    plan: FitPlan,
    state: TrainingState,
    pace: _Pace,
) -> dict[str, float]:
    """Do the remaining steps of an epoch, and return the loss and the images per second."""
    an_epoch = steps_an_epoch(subset.taught, plan.batch_size)
    epoch, done = divmod(state.step, an_epoch)
    left = min(an_epoch, state.steps - epoch * an_epoch)
    batches = _batches(subset, plan, epoch)[done:left]
    _set_training(graft, plan, epoch)
    start = saved = time.perf_counter()
    learner, running = _Learner(graft, optimizer, subset, plan, state), list[Tensor]()
    for batch, inputs in _loaded(subset, batches, epoch, plan):
        running.append(learner.step(inputs, _truth(subset, share(batch)), len(batch)))
        if len(running) % _LOOK_EVERY == 0 or len(running) == len(batches):
            loss = _finite(running, subset, state)
            if plan.limit is not None:
                state.shorten(agreed(pace.fitting(state, plan.limit - state.reserve)))
            of_inner = state.history[-1].get("inner_accuracy")
            note = f"loss {loss:.3f}" + (f", inner split {of_inner:.3f}" if of_inner is not None else "")
            _tell(subset, plan, state, note)
        if time.perf_counter() - saved > _SAVE_EVERY and len(running) < len(batches):  # else kept after scoring
            state.spent = time.perf_counter() - pace.began
            state.keep(graft, optimizer)
            saved = time.perf_counter()
        if state.step >= state.steps:
            break
    average_buffers(graft)
    images = sum(map(len, batches[: len(running)])) / (time.perf_counter() - start)
    return {"loss": _finite(running, subset, state), "images_per_second": images}


def _tell(subset: TrainingSubset, plan: FitPlan, state: TrainingState, note: str) -> None:
    report_progress(subset.name, state.step * plan.batch_size, state.steps * plan.batch_size, "images", note)


class _Learner:
    """A network that learns batch by batch; several ranks learn together, each from its share of the batch."""

    def __init__(
        self,
        graft: Graft,
        optimizer: torch.optim.Optimizer,
        subset: TrainingSubset,
        plan: FitPlan,
        state: TrainingState,
    ) -> None:
        self._graft, self._optimizer, self._plan, self._state = graft, optimizer, plan, state
        truth, classes = subset.truth[subset.taught], int(subset.truth.max()) + 1
        self._criterion = Criterion.of(plan.loss, plan.class_weight, plan.label_smoothing, truth, classes)
        self._scores = learning_together(graft, some_unused=graft.layers != (LAST,))

    def step(self, inputs: Tensor, truth: Tensor, of_batch: int) -> Tensor:
        """The loss of these images, of ``of_batch`` on all ranks, before the network has learnt from them."""
        plan, state = self._plan, self._state
        torch.manual_seed(_seed(plan, state.step))  # for dropout: depends on the step only, also after a restart
        generator = np.random.default_rng([plan.seed, state.step, *_of_rank()])
        inputs, loss_of = mix(inputs, truth, plan.mixup, plan.cutmix, self._criterion, generator)
        factor = rate_factor(state.step, state.steps, plan.warmup)
        for group in self._optimizer.param_groups:
            group["lr"] = group["full_rate"] * factor
        with autocast(state.precision):
            loss = loss_of(self._scores(inputs))
        weighted(loss, len(truth), of_batch).backward()
        if plan.clip is not None:
            learning = [each for group in self._optimizer.param_groups for each in group["params"]]
            nn.utils.clip_grad_norm_(learning, plan.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        state.step += 1
        if plan.ema:
            state.average(self._graft, plan.ema)
        return loss.detach()


def _score(graft: Graft, subset: TrainingSubset, plan: FitPlan, state: TrainingState, facts: dict[str, float]) -> None:
    """Score the inner split, with the averaged weights if there are any, and let the state note the epoch."""
    of_inner: Floats | None = None
    with state.averaged(graft):
        if len(subset.inner):
            scores = class_scores(graft, subset.samples, subset.inner, plan.batch_size, plan.threads)
            truth = subset.truth[subset.inner]
            answers = Answers.likeliest(truth, softmax(scores, fit_temperature(scores, truth)))
            loss = losses(answers.probabilities, truth)
            of_inner = agreed(loss if plan.metric.name in _BY_LOSS else -plan.metric.contributions(answers))
            right = answers.predicted == truth
            facts = {**facts, "inner_loss": float(loss.mean()), "inner_accuracy": float(right.mean())}
        state.note(graft, facts, of_inner)
    record(subset.name, len(state.history) - 1, facts)


def _set_training(graft: Graft, plan: FitPlan, epoch: int) -> None:
    """Set the groups that learn in this epoch to training mode, and all other groups to evaluation mode."""
    graft.train()
    first = first_learning(epoch, plan.first, len(graft.groups), plan.unfreeze_every)
    freeze(graft.trunk, graft.groups, first, plan.batch_norm)


def _optimizer(graft: Graft, plan: FitPlan, rate: float) -> torch.optim.Optimizer:
    """An optimizer with the learning rate of each group of layers; one-dimensional parameters have no weight decay."""
    rates = group_rates(len(graft.groups), rate, plan.backbone_rate, plan.layer_decay)
    number = group_numbers(graft.trunk, graft.groups)
    trunk = [
        (rates[number[name]], value) for name, value in graft.trunk.named_parameters() if number[name] >= plan.first
    ]
    head = [(rate, value) for module in (graft.neck, graft.head) for value in module.parameters()]
    by_kind: dict[tuple[float, float], list[nn.Parameter]] = {}
    for rate_, value in [*trunk, *head]:
        by_kind.setdefault((rate_, plan.weight_decay if value.ndim > 1 else 0.0), []).append(value)
    groups = [
        {"params": values, "lr": rate_, "full_rate": rate_, "weight_decay": decay}
        for (rate_, decay), values in by_kind.items()
    ]
    if plan.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=_MOMENTUM, nesterov=True)
    return torch.optim.AdamW(groups, lr=rate, fused=accelerator() != "mps")


def _batches(subset: TrainingSubset, plan: FitPlan, epoch: int) -> list[Integers]:
    """Rows of each batch of an epoch, in the random order of this epoch."""
    generator = np.random.default_rng([plan.seed, epoch])
    if plan.sampling == "balanced":
        rows = balanced_order(subset.truth, subset.taught, generator)
    else:
        rows = generator.permutation(subset.taught)
    return _cut(rows, plan.batch_size)[: steps_an_epoch(subset.taught, plan.batch_size)]


def _endless(subset: TrainingSubset, plan: FitPlan) -> Iterator[Integers]:
    epoch = 0
    while True:
        yield from _batches(subset, plan, epoch)
        epoch += 1


def _cut(rows: Integers, size: int) -> list[Integers]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _loaded(
    subset: TrainingSubset, batches: Sequence[Integers], epoch: int, plan: FitPlan
) -> Iterator[tuple[Integers, Tensor]]:
    """Each batch, and the inputs of this rank's share of it, on the device."""
    shares = load_batches(
        subset.samples, [share(batch) for batch in batches], subset.samples.view_of(epoch), plan.threads
    )
    for batch, (_, inputs) in zip(batches, shares, strict=True):
        yield batch, inputs.to(accelerator())


def _of_rank() -> list[int]:
    """What the random numbers of this rank depend on besides seed and step; nothing on the first rank."""
    return [rank()] if rank() else []


def _truth(subset: TrainingSubset, rows: Integers) -> Tensor:
    if subset.targets is not None:
        return torch.from_numpy(subset.targets[rows]).float().to(accelerator())
    return torch.from_numpy(subset.truth[rows]).long().to(accelerator())


def _finite(running: Sequence[Tensor], subset: TrainingSubset, state: TrainingState) -> float:
    loss = agreed(float(torch.stack(list(running[-_LOOK_EVERY:])).mean()))
    if not math.isfinite(loss):
        raise InputError(
            f"{subset.name}: the loss is no number after {state.step} steps. Try a lower learning_rate "
            f"(it was {state.rate:g}), a smaller clip, or precision=float32."
        )
    return loss


def _is_over(plan: FitPlan, state: TrainingState) -> bool:
    """Whether all steps are done, or the loss has not improved for ``patience`` epochs."""
    without_gain = len(state.history) - 1 - state.best_epoch
    impatient = plan.patience is not None and without_gain >= plan.patience
    return state.begun and (state.step >= state.steps or impatient)


def _seed(plan: FitPlan, step: int) -> int:
    return int(np.random.SeedSequence([plan.seed, step, *_of_rank()]).generate_state(1, np.uint64)[0] >> np.uint64(1))
