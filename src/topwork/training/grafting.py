"""Trains the networks of a strategy: fold models for out-of-fold scores, then the final model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import pandas as pd

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Rejection
from topwork.core.columns import TEST
from topwork.core.digests import text_digest
from topwork.core.errors import InputError
from topwork.core.heads import LinearHead
from topwork.core.parameters import FinetuneParameters, NetworkParameters, ScratchParameters
from topwork.core.progress import record, report_progress
from topwork.core.stores import CheckpointStore
from topwork.data.splits import inner_split
from topwork.models.engines.hardware import begin_worker
from topwork.models.graft import Graft, starting_at_group
from topwork.models.layer_groups import LayerGroup, check_frozen, first_trainable, frozen_digests
from topwork.scoring.metric import Metric
from topwork.scoring.metrics import softmax
from topwork.scoring.rejection import measure, threshold
from topwork.training import defaults
from topwork.training.calibration import fit_temperature
from topwork.training.loop import FitPlan, TrainingSubset, bottleneck_features, fit
from topwork.training.ranks import agreed, trained_together
from topwork.training.samples import Samples
from topwork.training.state import TrainingState
from topwork.workers import current_crew, shared_out

_MEASURED = 1000  # images
FINAL = -1
"""Fold number of the final model, which leaves out no fold."""


@dataclass(frozen=True)
class TrainingImages:
    """The images to learn from, one per row (``image_id``, ``sha256``, ``label``, ``group``, ``fold``).

    ``targets`` are as in `TrainingSubset`. With ``told`` ``[n, c]``, calibrated probabilities of a teacher, the network
    is calibrated to these, because labels of images that the teacher knew would make it look better than it is.
    """

    table: pd.DataFrame
    targets: Floats | None = None
    told: Floats | None = None

    @classmethod
    def of(cls, splits: pd.DataFrame, manifest: pd.DataFrame) -> TrainingImages:
        """All images except the test split."""
        learnt = splits[splits["split"] != TEST].reset_index(drop=True)
        content = manifest.set_index("image_id")["sha256"]
        return cls(learnt.assign(sha256=learnt["image_id"].map(content)))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes in alphabetical order; the class number is the position in it."""
        return tuple(sorted(self.table["label"].unique()))

    @cached_property
    def truth(self) -> Integers:
        """Class number of each row."""
        return np.searchsorted(self.class_names, self.table["label"])

    def temperature(self, scores: Floats, rows: Integers) -> float:
        """The temperature for scores ``[n, c]`` of these rows."""
        return fit_temperature(scores, self.truth[rows], None if self.told is None else self.told[rows])

    @property
    def contents(self) -> list[tuple[str, str]]:
        """Image id and SHA-256 of each row."""
        return list(zip(self.table["image_id"], self.table["sha256"], strict=True))

    def divided(self, fold: int, fraction: float, seed: int) -> tuple[Integers, Integers, Integers]:
        """Rows to learn from, rows of the inner split, and rows of the fold; no row is in two of them.

        Raises:
            InputError: the inner split is empty, because there are too few images.

        """
        held_out = (self.table["fold"] == fold).to_numpy()
        rest = self.table[~held_out]
        inner = inner_split(rest, fraction, seed)
        if not inner.any():
            raise InputError("Too few images to train a network: no group is left to choose the best epoch by.")
        return rest.index.to_numpy()[~inner], rest.index.to_numpy()[inner], np.flatnonzero(held_out)


@dataclass(frozen=True)
class TrainedNetwork:
    """The final network and its scores.

    ``out_of_fold`` are probabilities of the rows ``scored``; ``rejection`` detects images of none of the classes;
    ``by_epoch`` has measurements of each epoch of each model; ``facts`` describe the training for the report.
    """

    network: dict[str, Floats]
    head: LinearHead
    temperature: float
    rejection: Rejection
    scored: Integers
    out_of_fold: Floats
    by_epoch: list[dict[str, Any]]
    facts: dict[str, Any]


def plan_scratch(parameters: ScratchParameters, images: int, first: int, metric: Metric) -> FitPlan:
    """The plan with all parameters; values that are null come from `defaults`; ``first``: group that learns first."""
    p = parameters
    return _plan(
        p,
        images,
        metric=metric,
        epochs=p.epochs or defaults.epochs(images, scratch=True),
        learning_rate=p.learning_rate or defaults.learning_rate(p.optimizer, scratch=True),
        backbone_rate=1.0,
        layer_decay=1.0,
        first=first,
        unfreeze_every=0,
        batch_norm="frozen",
    )


def plan_finetune(
    parameters: FinetuneParameters, images: int, groups: Sequence[LayerGroup], metric: Metric, *, far: bool
) -> FitPlan:
    """The plan with all parameters; null and auto come from `defaults`; ``far``: the probe finds a far domain."""
    p, planted = parameters, parameters.head == "probe"
    wanted = p.trainable_groups
    rate, decay = defaults.backbone_rates(images, far=far)
    return _plan(
        p,
        images,
        metric=metric,
        epochs=p.epochs or defaults.epochs(images, scratch=False),
        learning_rate=p.learning_rate or defaults.learning_rate(p.optimizer, scratch=False, planted=planted),
        backbone_rate=p.backbone_rate or rate,
        layer_decay=p.layer_decay or decay,
        first=first_trainable(groups, defaults.trainable_groups(len(groups), far=far) if wanted == "auto" else wanted),
        unfreeze_every=p.unfreeze_every,
        batch_norm=("all" if planted else "frozen") if p.batch_norm == "auto" else p.batch_norm,
    )


def _plan(parameters: NetworkParameters, images: int, **resolved: Any) -> FitPlan:
    p = parameters
    return FitPlan(
        **resolved,
        seconds=None,
        limit=None,
        scored_after=0,
        batch_size=p.batch_size,
        optimizer=p.optimizer,
        weight_decay=p.weight_decay,
        warmup=p.warmup,
        clip=p.clip,
        label_smoothing=p.label_smoothing,
        loss=p.loss,
        class_weight=p.class_weight,
        sampling=p.sampling,
        mixup=defaults.mixup(images) if p.mixup is None else p.mixup,
        cutmix=p.cutmix or 0.0,
        ema=p.ema,
        patience=p.patience,
        precision=p.precision,
        seed=p.seed,
        threads=p.threads,
    )


INDIFFERENT = {"threads", "max_pixels", "cache_gigabytes", "rejected"}
"""Parameters that do not change the trained network, so that a training may continue after they have changed."""


@dataclass(frozen=True)
class TrainingJob:
    """Everything that is needed to train the models of a strategy.

    ``graft_for`` returns an untrained network for the rows to learn from and the fold. ``samples`` belong to the rows
    of ``examples``. The models share the minutes of ``parameters``, counted from ``started`` (`time.perf_counter`).
    ``identity`` holds everything else that the result depends on, so that a different training does not continue from
    these ``checkpoints``.
    """

    strategy: str
    graft_for: Callable[[Integers, int], Graft]
    samples: Samples
    examples: TrainingImages
    parameters: NetworkParameters
    plan: FitPlan
    checkpoints: CheckpointStore
    identity: Mapping[str, Any]
    started: float

    @cached_property
    def folds(self) -> list[int]:
        """The folds to score, followed by `FINAL`."""
        numbers = sorted({int(fold) for fold in self.examples.table["fold"]})
        return [*numbers[: self.parameters.folds], FINAL]

    def title(self, fold: int) -> str:
        """Name of a model in the terminal and in MLflow."""
        return f"{self.strategy}, {'final' if fold == FINAL else f'fold {fold}'}"

    def checkpoint(self, fold: int) -> str:
        """Name of the checkpoint of a model."""
        p = self.parameters
        plan = {name: value for name, value in asdict(self.plan).items() if name not in INDIFFERENT}
        content = [sorted(self.identity.items()), plan, p.inner_fraction, p.minutes, p.folds, fold]
        return f"{'final' if fold == FINAL else f'fold-{fold}'}-{text_digest(str(content))[:16]}"

    def limit_for(self, fold: int, taught: int, at_once: int = 1) -> float | None:
        """Seconds that a model which learns from ``taught`` images may take; None if there is no limit.

        The time left is divided among this model and the later ones in proportion to their images; ``at_once`` of the
        fold models are trained at the same time.
        """
        if self.parameters.minutes is None:
            return None
        left = 60 * self.parameters.minutes - (time.perf_counter() - self.started)
        others = len(self.folds) - 1 - self.folds.index(fold)
        rounds = -(-others // at_once)
        everybody = taught * rounds + len(self.examples.table) if others else taught
        return max(1.0, left * taught / everybody)


def train_grafts(job: TrainingJob) -> TrainedNetwork:
    """Train a model for each requested fold, and the final model on all images; on several processes, if asked for.

    Each fold model chooses its epoch on an inner split. The final model has no inner split: it trains for the median of
    the chosen numbers of epochs, and its learning rate falls to zero over this time. The first fold model sets the time
    and the precision of the others, so it is trained alone; the others are shared out if there are workers.
    """
    job.checkpoints.keep_only([*map(job.checkpoint, job.folds), prefix_name(job.identity)])
    return trained_together(_train_models, job)


def _train_models(job: TrainingJob) -> TrainedNetwork:
    first, *others, _ = job.folds
    subset, _ = _subset(job, first)
    trained = [_fold_model(job, first, replace(job.plan, seconds=job.limit_for(first, len(subset.taught))))]
    of_first = _time_facts(job, subset, trained[0])
    plan = _as_the_first(job.plan, trained[0])
    trained += _fold_models(job, others, plan)
    plan = replace(plan, epochs=float(np.median([each.chosen_after for each in trained])), patience=None)
    return _final_model(job, plan, trained, of_first)


@dataclass(frozen=True)
class _FoldModel:
    """What is kept of the model of a fold.

    ``scores`` and ``probabilities`` ``[n, c]`` and ``distances`` ``[n]`` are of the rows ``scored``; ``closing`` are
    the seconds after the training. The rest is of its `TrainingState`.
    """

    name: str
    scored: Integers
    scores: Floats
    probabilities: Floats
    distances: Floats
    closing: float
    history: list[dict[str, float]]
    epochs: float
    precision: str
    rate: float
    chosen_after: float


def _fold_models(job: TrainingJob, folds: Sequence[int], plan: FitPlan) -> list[_FoldModel]:
    """The models of these folds, in their order; workers train several at a time."""
    crew = current_crew()
    if crew is None or not folds:
        return [_fold_model(job, fold, plan) for fold in folds]
    found: dict[int, _FoldModel] = {}

    def job_for(part: Sequence[int]) -> Callable[[], _FoldModel]:
        limited = replace(plan, limit=job.limit_for(part[0], len(_subset(job, part[0])[0].taught), crew.count))
        return partial(_fold_model_in_worker, job, part[0], limited)

    task = f"{job.strategy}, {len(folds)} folds"
    report_progress(task, 0, len(folds), "models")
    for (fold,), model in shared_out(crew, job_for, [[fold] for fold in folds], job.title):
        found[fold] = model
        for epoch, facts in enumerate(model.history):  # nothing is heard of a worker before it has ended
            record(model.name, epoch, {name: value for name, value in facts.items() if name != "step"})
        report_progress(task, len(found), len(folds), "models")
    return [found[fold] for fold in folds]


def _fold_model_in_worker(job: TrainingJob, fold: int, plan: FitPlan) -> _FoldModel:
    begin_worker()
    return _fold_model(job, fold, plan)


def _fold_model(job: TrainingJob, fold: int, plan: FitPlan) -> _FoldModel:
    """Train the model of a fold, and score the fold."""
    subset, held_out = _subset(job, fold)
    truth, p = job.examples.truth, job.parameters
    limit = job.limit_for(fold, len(subset.taught)) if plan.limit is None else plan.limit
    scored_after = min(len(subset.taught), _MEASURED) + len(held_out)
    graft, state, features_of = _train(job, subset, fold, replace(plan, limit=limit, scored_after=scored_after))
    learnt = time.perf_counter()
    some = _some(subset.taught, p.seed)
    bounds = measure(features_of(some), truth[some])
    head, vectors = graft.current_head(), features_of(held_out)
    temperature = job.examples.temperature(head.scores(features_of(subset.inner)), subset.inner)
    scores = head.scores(vectors)
    return _FoldModel(
        name=subset.name,
        scored=held_out,
        scores=scores,
        probabilities=softmax(scores, temperature),
        distances=bounds.distances(vectors),
        closing=time.perf_counter() - learnt,
        history=state.history,
        epochs=state.epochs,
        precision=state.precision,
        rate=state.rate,
        chosen_after=state.chosen_after,
    )


def _final_model(
    job: TrainingJob, plan: FitPlan, trained: Sequence[_FoldModel], of_first: dict[str, float]
) -> TrainedNetwork:
    """Train the final model, and put the results of all models together."""
    subset, _ = _subset(job, FINAL)
    truth, limit = job.examples.truth, job.limit_for(FINAL, len(subset.taught))
    limit = None if limit is None else limit - trained[-1].closing  # it will need about as long
    scored_after = min(len(subset.taught), _MEASURED)
    graft, state, features_of = _train(job, subset, FINAL, replace(plan, limit=limit, scored_after=scored_after))
    some = _some(subset.taught, job.parameters.seed)
    bounds = measure(features_of(some), truth[some])
    rows, scores, probabilities, distances = (
        np.concatenate([getattr(each, part) for each in trained])
        for part in ("scored", "scores", "probabilities", "distances")
    )
    histories = [*((each.name, each.history) for each in trained), (subset.name, state.history)]
    return TrainedNetwork(
        network=graft.tensors(),
        head=graft.current_head(),
        temperature=job.examples.temperature(scores, rows),
        rejection=bounds.rejecting_above(threshold(distances, job.parameters.rejected)),
        scored=rows,
        out_of_fold=probabilities,
        by_epoch=[
            {"model": name, "epoch": number, **each} for name, past in histories for number, each in enumerate(past)
        ],
        facts={**_facts(job, graft, state), **of_first},
    )


def _subset(job: TrainingJob, fold: int) -> tuple[TrainingSubset, Integers]:
    """The images that a model learns from, and the rows of its fold."""
    p = job.parameters
    nobody, everybody = np.empty(0, int), np.arange(len(job.examples.table))
    rows = (everybody, nobody, nobody) if fold == FINAL else job.examples.divided(fold, p.inner_fraction, p.seed)
    taught, inner, held_out = rows
    examples = job.examples
    return TrainingSubset(job.title(fold), job.samples, examples.truth, taught, inner, examples.targets), held_out


def _as_the_first(plan: FitPlan, first: _FoldModel) -> FitPlan:
    """The plan of the other models: they train like the first one, so that its scores are valid for them."""
    return replace(plan, epochs=first.epochs, seconds=None, precision=first.precision, learning_rate=first.rate)


def _train(
    job: TrainingJob, subset: TrainingSubset, fold: int, plan: FitPlan
) -> tuple[Graft, TrainingState, Callable[[Integers], Floats]]:
    """The trained network, its training state, and a function from rows to features."""
    samples = job.samples
    graft = job.graft_for(subset.taught, fold)
    state = TrainingState(job.checkpoints, job.checkpoint(fold))
    agreed(None)  # all ranks have read the checkpoint, before the first one writes another
    audited = frozen_digests(graft.trunk, graft.groups, plan.first, plan.batch_norm)
    with starting_at_group(graft.trunk, graft.groups, samples.starts_at):
        fit(graft, subset, plan, state)
    check_frozen(graft.trunk, audited)

    def features_of(rows: Integers) -> Floats:
        with starting_at_group(graft.trunk, graft.groups, samples.starts_at):
            return bottleneck_features(graft, samples, rows, plan.batch_size, plan.threads)

    return graft, state, features_of


def _some(rows: Integers, seed: int) -> Integers:
    """At most 1000 of the rows, which is enough to measure the means and the spread of the features."""
    return rows if len(rows) <= _MEASURED else np.random.default_rng(seed).permutation(rows)[:_MEASURED]


def _facts(job: TrainingJob, graft: Graft, state: TrainingState) -> dict[str, Any]:
    """Facts about the final model for the report."""
    plan = job.plan
    return {
        "images": len(job.examples.table),
        "epochs": state.epochs,
        "precision": state.precision,
        "learning_rate": state.rate,
        "mixup": plan.mixup,
        "folds": len(job.folds) - 1,
        "groups": len(graft.groups),
        "trainable_groups": len(graft.groups) - plan.first,
        "frozen_layers_cached": job.samples.starts_at > 0,
    }


def _time_facts(job: TrainingJob, subset: TrainingSubset, first: _FoldModel) -> dict[str, float]:
    """How many epochs a model had the time for and would have taken, and the seconds of an epoch of all models."""
    speeds = [epoch["images_per_second"] for epoch in first.history if "images_per_second" in epoch]
    facts = {"epochs_in_time": first.epochs, "epochs_wanted": job.plan.epochs}
    if speeds:
        facts["epoch_seconds"] = len(job.folds) * len(subset.taught) / speeds[-1]
    return facts


def prefix_name(identity: Mapping[str, Any]) -> str:
    """Name of the checkpoint that holds the number of views for which the output of the frozen layers is cached."""
    return f"prefix-{text_digest(str(sorted(identity.items())))[:16]}"
