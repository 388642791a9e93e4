"""Training of a network: fit, made of epochs, made of steps.

Everything random is drawn anew from the seed and the number of the step or epoch, so that a training that goes on
from a checkpoint is the training that was never interrupted.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from topwork.metrics import losses, softmax
from topwork.models.engines.hardware import accelerator, cores
from topwork.models.graft import Graft
from topwork.models.groups import freeze, group_numbers
from topwork.progress import record, report
from topwork.schemas import Floats, InputError, Integers
from topwork.training.calibration import fit_temperature
from topwork.training.mixing import mix
from topwork.training.reached import Reached
from topwork.training.samples import Samples, load_batches
from topwork.training.schedule import first_learning, group_rates, rate_factor
from topwork.training.tempo import autocast, choose_precision, find_rate

_log = logging.getLogger(__name__)

_LOOK_EVERY = 10  # steps between looks at the loss, each of which waits for the device
_SAVE_EVERY = 30.0  # seconds
_SAFETY = 0.8  # share of the time that is planned for: loading and learning get into each other's way
_MOMENTUM = 0.9


@dataclass(frozen=True)
class FitPlan:
    """How one network learns; ``first`` is the first group of layers that does.

    ``seconds`` is what it may take, which shortens the ``epochs`` once, before the first step. With ``stop`` it learns
    no longer than so many of them, at the rates that they have in the whole.
    """

    epochs: float
    seconds: float | None
    stop: float | None
    batch_size: int
    optimizer: str
    learning_rate: float
    range_test: bool
    weight_decay: float
    backbone_rate: float
    layer_decay: float
    first: int
    unfreeze_every: int
    batch_norm: str
    warmup: float
    clip: float | None
    label_smoothing: float
    mixup: float
    cutmix: float
    ema: float
    patience: int | None
    precision: str
    seed: int
    threads: int


@dataclass(frozen=True)
class Lesson:
    """What one network learns from: samples by row, their classes ``[n]``, and which rows teach and which choose.

    Where none choose (the inner split is empty), the network is kept as it is in the end.
    """

    name: str
    samples: Samples
    truth: Integers
    taught: Integers
    inner: Integers


def fit(graft: Graft, lesson: Lesson, plan: FitPlan, reached: Reached) -> None:
    """Train the graft from where ``reached`` is; it ends with the weights that do best on the inner split.

    Raises:
        InputError: the loss is no longer a number; the message says what to try.

    """
    graft.to(accelerator(), memory_format=torch.channels_last)  # type: ignore[call-overload]
    with torch.random.fork_rng(devices=[]):
        freeze(graft.trunk, graft.groups, plan.first, plan.batch_norm)
        if not reached.steps:
            _begin(graft, lesson, plan, reached)
        elif reached.step < _last_step(lesson, plan, reached):
            _log.info("%s: goes on after %d of %d steps", lesson.name, reached.step, reached.steps)
        else:
            _log.info("%s: trained before, taken as it was", lesson.name)
        optimizer = _optimizer(graft, plan, reached.rate)
        reached.restore(graft, optimizer)
        _tell(lesson, plan, reached, "")
        while reached.step < _last_step(lesson, plan, reached) and not _is_patience_over(plan, reached):
            _epoch(graft, optimizer, lesson, plan, reached)
        graft.load_state_dict(reached.best)
    graft.eval()


def steps_an_epoch(taught: Integers, batch_size: int) -> int:
    """Whole batches; the rest that fills none waits for another epoch's order."""
    return max(1, len(taught) // batch_size)


def class_scores(graft: Graft, samples: Samples, rows: Integers, batch_size: int, threads: int) -> Floats:
    """Scores ``[len(rows), c]`` (float64) of the originals, in float32."""
    graft.eval()
    found = []
    with torch.inference_mode():
        for _, inputs in load_batches(samples, _cut(rows, batch_size), 0, threads):
            found.append(graft(inputs.to(accelerator())).double().cpu().numpy())
    return np.concatenate(found)


def _begin(graft: Graft, lesson: Lesson, plan: FitPlan, reached: Reached) -> None:
    """Settle precision, rate and number of steps, once; score the network before anything is learnt."""
    start = time.perf_counter()
    rows = _batches(lesson, plan, epoch=0)[0]
    inputs = lesson.samples.batch(rows, lesson.samples.view_of(1))
    loading = time.perf_counter() - start
    inputs, truth = inputs.to(accelerator()), _classes(lesson, rows)
    _set_training(graft, plan, epoch=plan.unfreeze_every * len(graft.groups))
    reached.precision, seconds = choose_precision(graft, inputs, truth, plan.precision)
    reached.rate = plan.learning_rate
    if plan.range_test:
        endless = (
            (lesson.samples.batch(each, 0).to(accelerator()), _classes(lesson, each)) for each in _endless(lesson, plan)
        )
        reached.rate = find_rate(graft, lambda rate: _optimizer(graft, plan, rate), endless)
    scoring = time.perf_counter()
    _score(graft, lesson, plan, reached, {})
    scoring = time.perf_counter() - scoring
    an_epoch = steps_an_epoch(lesson.taught, plan.batch_size)
    reached.steps = max(1, round(plan.epochs * an_epoch))
    if plan.seconds is not None:
        a_step = seconds + loading / (cores() if accelerator() == "cpu" else plan.threads)
        left = _SAFETY * plan.seconds - (time.perf_counter() - start)
        reached.steps = min(reached.steps, max(an_epoch, int(left / (a_step + scoring / an_epoch))))
    reached.epochs = reached.steps / an_epoch
    reached.save()


def _epoch(graft: Graft, optimizer: torch.optim.Optimizer, lesson: Lesson, plan: FitPlan, reached: Reached) -> None:
    """The steps that are left of an epoch, and the score after it."""
    an_epoch = steps_an_epoch(lesson.taught, plan.batch_size)
    epoch, done = divmod(reached.step, an_epoch)
    left = min(an_epoch, _last_step(lesson, plan, reached) - epoch * an_epoch)
    batches = _batches(lesson, plan, epoch)[done:left]
    _set_training(graft, plan, epoch)
    start, saved = time.perf_counter(), time.perf_counter()
    loading = load_batches(lesson.samples, batches, lesson.samples.view_of(epoch), plan.threads)
    running: list[Tensor] = []
    for rows, inputs in loading:
        running.append(_step(graft, optimizer, inputs.to(accelerator()), _classes(lesson, rows), plan, reached))
        if len(running) % _LOOK_EVERY == 0 or len(running) == len(batches):
            loss = _finite(running, lesson, reached)
            of_inner = reached.history[-1].get("inner_accuracy")
            note = f"loss {loss:.3f}" + (f", inner split {of_inner:.3f}" if of_inner is not None else "")
            _tell(lesson, plan, reached, note)
        if time.perf_counter() - saved > _SAVE_EVERY and len(running) < len(batches):  # the end is kept with its score
            reached.keep(graft, optimizer)
            saved = time.perf_counter()
    images = sum(map(len, batches)) / (time.perf_counter() - start)
    _score(graft, lesson, plan, reached, {"loss": _finite(running, lesson, reached), "images_per_second": images})
    reached.keep(graft, optimizer)


def _tell(lesson: Lesson, plan: FitPlan, reached: Reached, note: str) -> None:
    total = _last_step(lesson, plan, reached)
    report(lesson.name, reached.step * plan.batch_size, total * plan.batch_size, "images", note)


def _step(
    graft: Graft, optimizer: torch.optim.Optimizer, inputs: Tensor, truth: Tensor, plan: FitPlan, reached: Reached
) -> Tensor:
    torch.manual_seed(_seed(plan, reached.step))  # of dropout: the step's own, wherever the training began
    generator = np.random.default_rng([plan.seed, reached.step])
    inputs, loss_of = mix(inputs, truth, plan.mixup, plan.cutmix, plan.label_smoothing, generator)
    factor = rate_factor(reached.step, reached.steps, plan.warmup)
    for group in optimizer.param_groups:
        group["lr"] = group["full_rate"] * factor
    with autocast(reached.precision):
        loss = loss_of(graft(inputs))
    loss.backward()
    if plan.clip is not None:
        nn.utils.clip_grad_norm_([each for group in optimizer.param_groups for each in group["params"]], plan.clip)
    optimizer.step()
    optimizer.zero_grad()
    reached.step += 1
    if plan.ema:
        reached.average(graft, plan.ema)
    return loss.detach()


def _score(graft: Graft, lesson: Lesson, plan: FitPlan, reached: Reached, facts: dict[str, float]) -> None:
    """Look at the inner split, with the averaged weights if there are any, and keep the best."""
    with reached.averaged(graft):
        if len(lesson.inner):
            scores = class_scores(graft, lesson.samples, lesson.inner, plan.batch_size, plan.threads)
            truth = lesson.truth[lesson.inner]
            loss = float(losses(softmax(scores, fit_temperature(scores, truth)), truth).mean())
            facts |= {"inner_loss": loss, "inner_accuracy": float((scores.argmax(axis=1) == truth).mean())}
        reached.note(graft, facts)
    record(lesson.name, len(reached.history) - 1, facts)


def _set_training(graft: Graft, plan: FitPlan, epoch: int) -> None:
    """Dropout and statistics of what learns in this epoch on, everything else off."""
    graft.train()
    first = first_learning(epoch, plan.first, len(graft.groups), plan.unfreeze_every)
    freeze(graft.trunk, graft.groups, first, plan.batch_norm)


def _optimizer(graft: Graft, plan: FitPlan, rate: float) -> torch.optim.Optimizer:
    """One with a group of parameters for each group of layers; what has one dimension does not decay."""
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


def _batches(lesson: Lesson, plan: FitPlan, epoch: int) -> list[Integers]:
    """Rows of each batch of an epoch, in the epoch's own order."""
    rows = np.random.default_rng([plan.seed, epoch]).permutation(lesson.taught)
    return _cut(rows, plan.batch_size)[: steps_an_epoch(lesson.taught, plan.batch_size)]


def _endless(lesson: Lesson, plan: FitPlan) -> Any:
    epoch = 0
    while True:
        yield from _batches(lesson, plan, epoch)
        epoch += 1


def _cut(rows: Integers, size: int) -> list[Integers]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _classes(lesson: Lesson, rows: Integers) -> Tensor:
    return torch.from_numpy(lesson.truth[rows]).long().to(accelerator())


def _finite(running: Sequence[Tensor], lesson: Lesson, reached: Reached) -> float:
    loss = float(torch.stack(list(running[-_LOOK_EVERY:])).mean())
    if not math.isfinite(loss):
        raise InputError(
            f"{lesson.name}: the loss is no number after {reached.step} steps. Try a lower learning_rate "
            f"(it was {reached.rate:g}), a smaller clip, or precision=float32."
        )
    return loss


def _last_step(lesson: Lesson, plan: FitPlan, reached: Reached) -> int:
    if plan.stop is None:
        return reached.steps
    return min(reached.steps, round(plan.stop * steps_an_epoch(lesson.taught, plan.batch_size)))


def _is_patience_over(plan: FitPlan, reached: Reached) -> bool:
    return plan.patience is not None and len(reached.history) - 1 - reached.best_epoch >= plan.patience


def _seed(plan: FitPlan, step: int) -> int:
    return int(np.random.SeedSequence([plan.seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
