from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from topwork.core.parameters import LinearParameters
from topwork.datasets.checkpoints import FolderCheckpointStore
from topwork.decisions.strategies import head_types
from topwork.training import kept_heads
from topwork.training.heads import Examples, FittedHead, logistic
from topwork.training.kept_heads import fit_once

PARAMETERS = LinearParameters(C=[0.01, 0.1], class_weight="none", max_iterations=100, seed=0, rejected=0.05)


def examples(seed: int = 0) -> Examples:
    random = np.random.default_rng(seed)
    truth = np.arange(30) % 3
    samples = random.normal(size=(1, 30, 4)).astype(np.float32) + truth[:, None]
    return Examples(samples.astype(np.float32), truth, np.arange(30) // 3 % 5, 3, average=False)


class Counted:
    """`logistic.fit`, which counts its calls."""

    __module__ = logistic.fit.__module__

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, examples: Examples, parameters: LinearParameters) -> FittedHead:
        self.calls += 1
        return logistic.fit(examples, parameters)


def test_the_same_head_on_the_same_data_is_fitted_once_and_comes_back_equal(tmp_path: Path) -> None:
    fit, store = Counted(), FolderCheckpointStore(tmp_path)
    first, again = (fit_once(fit, examples(), PARAMETERS, head_types(), store) for _ in range(2))
    assert fit.calls == 1
    np.testing.assert_array_equal(first.head.scores(examples().vectors), again.head.scores(examples().vectors))
    np.testing.assert_array_equal(first.out_of_fold, again.out_of_fold)
    assert (first.temperature, first.facts) == (again.temperature, again.facts)


@pytest.mark.parametrize(
    ("data", "parameters", "code"),
    [
        pytest.param({"samples": examples(1).samples}, {}, "mine", id="features"),
        pytest.param({"folds": examples().folds[::-1].copy()}, {}, "mine", id="folds"),
        pytest.param({"average": True}, {}, "mine", id="average"),
        pytest.param({}, {"C": [0.01]}, "mine", id="parameters"),
        pytest.param({}, {}, "another version", id="code"),
    ],
)
def test_a_change_of_anything_that_counts_fits_the_head_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: dict[str, Any], parameters: dict[str, Any], code: str
) -> None:
    fit, store = Counted(), FolderCheckpointStore(tmp_path)
    monkeypatch.setattr(kept_heads, "code_digest", lambda: "mine")
    fit_once(fit, examples(), PARAMETERS, head_types(), store)
    monkeypatch.setattr(kept_heads, "code_digest", lambda: code)
    fit_once(fit, replace(examples(), **data), PARAMETERS.model_copy(update=parameters), head_types(), store)
    assert fit.calls == 2
    assert len(list(tmp_path.iterdir())) == 1  # the last fit alone is kept


def test_the_share_of_rejected_images_changes_no_fit(tmp_path: Path) -> None:
    fit, store = Counted(), FolderCheckpointStore(tmp_path)
    for rejected in (0.05, 0.1):
        fit_once(fit, examples(), PARAMETERS.model_copy(update={"rejected": rejected}), head_types(), store)
    assert fit.calls == 1


def test_a_damaged_checkpoint_is_fitted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fit, store = Counted(), FolderCheckpointStore(tmp_path)
    fit_once(fit, examples(), PARAMETERS, head_types(), store)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    fit_once(fit, examples(), PARAMETERS, head_types(), store)
    assert fit.calls == 2
    assert "is damaged" in caplog.text
