from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from topwork.core.arrays import Floats, Integers
from topwork.core.errors import InputError
from topwork.models.backbones import describe_backbone, load_backbone
from topwork.models.graft import Graft, boundary_layer, starting_at_group
from topwork.scoring.metric import Metric
from topwork.training import loop
from topwork.training.loop import FitPlan, TrainingSubset, class_scores, fit
from topwork.training.samples import ActivationSamples
from topwork.training.state import TrainingState, is_as_good

SIDE, COUNT, CLASSES = 32, 48, 3
PLAN = FitPlan(
    epochs=4,
    seconds=None,
    limit=None,
    scored_after=0,
    batch_size=8,
    optimizer="adamw",
    learning_rate=2e-3,
    weight_decay=0.01,
    backbone_rate=1.0,
    layer_decay=1.0,
    first=0,
    unfreeze_every=0,
    batch_norm="frozen",
    warmup=0.1,
    clip=1.0,
    label_smoothing=0.0,
    loss="cross_entropy",
    class_weight="none",
    sampling="plain",
    mixup=0.0,
    cutmix=0.0,
    ema=0.0,
    patience=None,
    precision="float32",
    metric=Metric(),
    seed=0,
    threads=1,
)
TRUTH = np.arange(COUNT) % CLASSES
INNER, TAUGHT = np.arange(COUNT)[-9:], np.arange(COUNT)[:-9]


class Colours:
    """Noise in the colour of its class, another one in every view; stops the training after some batches if asked."""

    starts_at = 0

    def __init__(self, stop_after: int | None = None) -> None:
        self.left = stop_after

    def batch(self, rows: Integers, view: int) -> Tensor:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
        pixels = np.stack([np.random.default_rng([row, view]).normal(90, 60, (SIDE, SIDE, 3)) for row in rows])
        pixels[np.arange(len(rows)), :, :, TRUTH[rows]] += 60
        return torch.from_numpy(np.clip(pixels, 0, 255).astype(np.uint8))

    def view_of(self, epoch: int) -> int:
        return epoch


class Memory:
    """Checkpoints that a process would find again."""

    def __init__(self) -> None:
        self.kept: dict[str, tuple[dict[str, Floats], dict[str, Any]]] = {}

    def get(self, name: str) -> tuple[dict[str, Floats], dict[str, Any]] | None:
        return self.kept.get(name)

    def put(self, name: str, tensors: Mapping[str, Floats], facts: Mapping[str, Any]) -> None:
        self.kept[name] = ({key: value.copy() for key, value in tensors.items()}, _copied(dict(facts)))

    def keep_only(self, names: Sequence[str]) -> None:
        self.kept = {name: value for name, value in self.kept.items() if name in names}


def _copied(facts: dict[str, Any]) -> dict[str, Any]:
    import json

    copy: dict[str, Any] = json.loads(json.dumps(facts))
    return copy


def new_graft(dropout: float = 0.0) -> Graft:
    torch.manual_seed(0)
    return Graft(load_backbone(describe_backbone("shallow", "none", SIDE)), ("last",), "average", [], dropout, CLASSES)


def train(
    plan: FitPlan = PLAN,
    samples: Any = None,
    checkpoints: Memory | None = None,
    inner: Integers = INNER,
    graft: Graft | None = None,
) -> tuple[Graft, TrainingState]:
    graft = graft or new_graft()
    state = TrainingState(checkpoints or Memory(), "training")
    fit(graft, TrainingSubset("finetune, fold 0", samples or Colours(), TRUTH, TAUGHT, inner), plan, state)
    return graft, state


def weights(graft: Graft) -> Floats:
    return np.concatenate([value.detach().double().numpy().ravel() for value in graft.state_dict().values()])


def test_a_network_learns_what_is_to_be_learnt() -> None:
    graft, state = train()
    scores = class_scores(graft, Colours(), INNER, 8, 1)
    assert (scores.argmax(axis=1) == TRUTH[INNER]).mean() > 0.8
    assert [row["step"] for row in state.history] == [4 * epoch for epoch in range(5)]
    assert state.history[-1]["loss"] < state.history[1]["loss"]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_same_seed_gives_the_same_network_and_another_seed_another(optimizer: str) -> None:
    plan = replace(PLAN, optimizer=optimizer, epochs=2)
    first, again, other = (weights(train(replace(plan, seed=seed))[0]) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("batches", [1, 6, 11, 19])
def test_an_interrupted_training_goes_on_to_the_very_same_network(
    batches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "_SAVE_EVERY", 0.0)  # after every step
    plan = replace(PLAN, ema=0.9, mixup=0.2, cutmix=0.5, unfreeze_every=1, warmup=0.3)
    whole, of_whole = train(plan, graft=new_graft(dropout=0.2))
    kept = Memory()
    with pytest.raises(KeyboardInterrupt):
        train(plan, Colours(stop_after=batches), kept, graft=new_graft(dropout=0.2))
    torch.manual_seed(99)  # another process is in another state
    resumed, of_resumed = train(plan, checkpoints=kept, graft=new_graft(dropout=0.2))
    np.testing.assert_array_equal(weights(resumed), weights(whole))
    for row, expected in zip(of_resumed.history, of_whole.history, strict=True):
        assert (row["inner_loss"], row["step"]) == (expected["inner_loss"], expected["step"])


def test_a_finished_training_is_not_repeated() -> None:
    kept = Memory()
    first, _ = train(checkpoints=kept)
    again, _ = train(samples=Colours(stop_after=0), checkpoints=kept)
    np.testing.assert_array_equal(weights(first), weights(again))


def test_the_weights_that_the_inner_split_chooses_are_kept() -> None:
    graft, state = train(replace(PLAN, learning_rate=0.5, clip=None, optimizer="sgd", epochs=3))  # it gets worse
    best = min(row["inner_loss"] for row in state.history)
    assert state.history[state.best_epoch]["inner_loss"] == best
    assert state.best_epoch <= state.chosen_epoch
    fresh = new_graft()
    fresh.load_state_dict(state.chosen)
    np.testing.assert_array_equal(weights(fresh), weights(graft))


@pytest.mark.parametrize(
    ("now", "chosen"),
    [
        pytest.param([0.5, 0.7, 0.3], True, id="hardly worse"),
        pytest.param([0.6, 0.6, 0.6], False, id="worse on every image"),
        pytest.param([2.0, 0.5, 0.0], False, id="no gain over the start"),
    ],
)
def test_a_later_epoch_is_chosen_within_one_standard_error_of_the_best(now: list[float], chosen: bool) -> None:
    best, first = torch.tensor([0.5, 0.5, 0.4]), torch.full((3,), 0.8)
    assert is_as_good(torch.tensor(now), best, first) == chosen


def test_a_training_that_gains_nothing_keeps_the_start() -> None:
    samples = Colours()
    samples.batch = lambda rows, view: torch.zeros(len(rows), SIDE, SIDE, 3, dtype=torch.uint8)  # type: ignore[method-assign]
    graft, state = train(replace(PLAN, learning_rate=0.3, optimizer="sgd", weight_decay=0.0), samples)
    assert (state.chosen_epoch, state.chosen_after) == (0, 0)
    np.testing.assert_array_equal(weights(graft), weights(new_graft()))


def test_without_an_inner_split_the_last_weights_are_kept() -> None:
    _, state = train(replace(PLAN, epochs=2.5), inner=np.empty(0, int))
    assert (state.step, state.steps) == (10, 10)
    assert state.chosen_epoch == len(state.history) - 1


def test_no_epoch_leaves_the_network_as_it_was() -> None:
    graft, _ = train(replace(PLAN, epochs=0.0), inner=np.empty(0, int))
    np.testing.assert_array_equal(weights(graft), weights(new_graft()))


def test_patience_ends_a_training_that_gains_nothing() -> None:
    _, state = train(replace(PLAN, epochs=30, learning_rate=1e-30, patience=2, weight_decay=0.0, batch_norm="all"))
    assert state.step == 2 * loop.steps_an_epoch(TAUGHT, PLAN.batch_size)  # steps too small to change a weight


def test_the_time_becomes_a_number_of_steps_once() -> None:
    kept = Memory()
    _, state = train(replace(PLAN, epochs=10_000, seconds=2.0), checkpoints=kept)
    assert 0 < state.steps < 40_000
    _, again = train(replace(PLAN, epochs=10_000, seconds=500.0), checkpoints=kept)
    assert again.steps == state.steps


class Clock:
    """`time` whose every reading is so many seconds after the one before."""

    def __init__(self, a_reading: float) -> None:
        self.now, self.a_reading = 0.0, a_reading

    def perf_counter(self) -> float:
        self.now += self.a_reading
        return self.now


def test_a_machine_that_becomes_slower_gets_fewer_steps_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(1.0)
    monkeypatch.setattr(loop, "time", clock)
    monkeypatch.setattr(loop, "_LOOK_EVERY", 1)
    plan = replace(PLAN, epochs=100, limit=60.0)
    _, state = train(plan)
    assert 0 < state.step == state.steps < 400
    assert clock.now < 1.2 * 60
    assert state.epochs == pytest.approx(state.steps / 4)
    assert sum("loss" in row for row in state.history) == len(state.history) - 1


def test_a_machine_that_is_fast_enough_does_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "time", Clock(1e-6))
    _, state = train(replace(PLAN, limit=60.0))
    assert (state.step, state.epochs) == (16, 4)


def test_minutes_that_hold_a_part_of_an_epoch_train_a_part_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "time", Clock(1.0))
    _, state = train(replace(PLAN, epochs=30, seconds=12.0, limit=12.0))
    assert 1 <= state.step < loop.steps_an_epoch(TAUGHT, PLAN.batch_size)


def test_a_loss_that_is_no_number_stops_with_what_to_try() -> None:
    with pytest.raises(InputError, match=r"finetune, fold 0: the loss is no number.*lower learning_rate"):
        train(replace(PLAN, learning_rate=1e30, clip=None, optimizer="sgd", warmup=0.0))


@pytest.mark.parametrize("first", [2, 4])
def test_training_on_kept_activations_is_training_on_the_images(first: int) -> None:
    plan = replace(PLAN, first=first, batch_norm="frozen", optimizer="sgd", epochs=2)  # AdamW magnifies rounding
    graft = new_graft()
    taken: list[Tensor] = []
    graft.eval()
    layer = graft.trunk.get_submodule(boundary_layer(graft.groups, first))
    handle = layer.register_forward_hook(lambda _module, _inputs, output: taken.append(output))
    with torch.inference_mode():
        for view in range(plan.epochs + 1):  # type: ignore[operator]
            graft(Colours().batch(np.arange(COUNT), view))
    handle.remove()
    kept = [activations.numpy().reshape(COUNT, -1) for activations in taken]
    cached = ActivationSamples(kept, taken[0].shape[1:], first)
    with starting_at_group(graft.trunk, graft.groups, first):
        _, of_cached = train(plan, cached, graft=graft)
    plain, of_plain = train(plan)
    np.testing.assert_allclose(weights(graft), weights(plain), rtol=1e-3, atol=5e-4)
    for row, expected in zip(of_cached.history, of_plain.history, strict=True):
        assert row["inner_loss"] == pytest.approx(expected["inner_loss"], rel=1e-2, abs=1e-3)


def test_averaged_weights_move_slowly() -> None:
    last, _ = train(replace(PLAN, epochs=1), inner=np.empty(0, int))
    slow, _ = train(replace(PLAN, epochs=1, ema=0.999), inner=np.empty(0, int))
    start = new_graft().head.weight
    moved, moved_slowly = ((graft.head.weight - start).abs().mean() for graft in (last, slow))
    assert moved_slowly < 0.8 * moved
