from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.test_loop import INNER, PLAN, TAUGHT, TRUTH, Colours, new_graft, weights
from topwork.core.arrays import Floats
from topwork.core.errors import InputError
from topwork.datasets.checkpoints import FolderCheckpointStore
from topwork.training import loop
from topwork.training.loop import FitPlan, TrainingSubset, class_scores, fit
from topwork.training.ranks import agreed, gathered, processes, rank, share, trained_together
from topwork.training.state import TrainingState


@dataclass(frozen=True)
class Training:
    """A training as a test wants it; with ``dies`` a rank dies once, after so many batches."""

    folder: Path
    plan: FitPlan
    dies: int | None = None


class Deadly(Colours):
    """Images that end the second rank, the first time that it has taken so many batches."""

    def __init__(self, after: int, mark: Path) -> None:
        super().__init__()
        self.after, self.mark = after, mark

    def batch(self, rows: Any, view: int) -> Any:
        self.after -= 1
        if self.after < 0 and rank() == 1 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(rows, view)


def train(training: Training) -> tuple[Floats, Floats, list[dict[str, float]]]:
    """Scores before the first step, weights at the end, and the history."""
    torch.set_num_threads(1)
    loop._SAVE_EVERY = 0.0  # after every step
    graft = new_graft()
    samples = Colours() if training.dies is None else Deadly(training.dies, training.folder / "died")
    before = class_scores(graft, samples, INNER, 4, 1)
    state = TrainingState(FolderCheckpointStore(training.folder / "checkpoints"), "training")
    agreed(None)
    fit(graft, TrainingSubset("finetune, fold 0", samples, TRUTH, TAUGHT, INNER), training.plan, state)
    return before, weights(graft), state.history


def by(number: int, training: Training) -> tuple[Floats, Floats, list[dict[str, float]]]:
    with processes(number):
        return trained_together(train, training)


def test_one_process_trains_by_itself() -> None:
    assert trained_together(len, [1, 2, 3]) == 3
    assert rank() == 0
    assert share([1, 2, 3]) == [1, 2, 3]


# A norm that learns sees its rank's share of a batch; here none does.
ALIKE = replace(PLAN, epochs=2, optimizer="sgd", learning_rate=0.02, batch_norm="all")


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[Floats, Floats, list[dict[str, float]]]:
    return by(2, Training(tmp_path_factory.mktemp("two"), ALIKE))


def test_two_processes_begin_with_the_very_same_scores_and_learn_the_same(
    of_two: tuple[Floats, Floats, list[dict[str, float]]], tmp_path: Path
) -> None:
    before, alone, history = by(1, Training(tmp_path, ALIKE))
    np.testing.assert_array_equal(of_two[0], before)
    np.testing.assert_allclose(of_two[1], alone, rtol=1e-3, atol=1e-4)  # sums of gradients are rounded otherwise
    assert [row["step"] for row in of_two[2]] == [row["step"] for row in history]


def test_a_rank_that_dies_costs_the_steps_since_the_checkpoint_and_changes_nothing(
    of_two: tuple[Floats, Floats, list[dict[str, float]]], tmp_path: Path
) -> None:
    _, restarted, history = by(2, Training(tmp_path, ALIKE, dies=9))
    assert (tmp_path / "died").exists()
    np.testing.assert_array_equal(restarted, of_two[1])
    assert [row["step"] for row in history] == [0, 4, 8]


def refuse(what: str) -> None:
    raise InputError(f"{what} is too high.")


def test_the_users_mistake_is_told_as_it_is_and_once() -> None:
    with processes(2), pytest.raises(InputError, match=r"^learning_rate is too high.$"):
        trained_together(refuse, "learning_rate")


def exchange(counts: list[int]) -> list[tuple[list[int], list[int], int]]:
    found = []
    for count in counts:
        mine = list(share(range(count)))
        together = gathered([np.array([number]) for number in mine])
        found.append(([int(each[0]) for each in together], mine, agreed(10 + rank())))
    return found


def test_what_the_ranks_computed_comes_together_in_its_order() -> None:
    counts = [0, 1, 4, 5]
    with processes(2):
        found = trained_together(exchange, counts)
    assert found == [(list(range(count)), list(range(0, count, 2)), 10) for count in counts]
