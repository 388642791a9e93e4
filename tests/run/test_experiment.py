"""The experiment of MLflow that a run belongs to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient, MlflowException
from mlflow.entities import Experiment

EXPERIMENT = "topwork"


def other_run_makes_it_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another run make the experiment after this one has looked for it, and before this one makes it."""
    look = MlflowClient.get_experiment_by_name
    looks: list[str] = []

    def look_too_early(client: MlflowClient, name: str) -> Experiment | None:
        looks.append(name)
        if len(looks) > 1:
            return look(client, name)
        client.create_experiment(name)
        return None

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", look_too_early)


def test_a_run_goes_on_in_the_experiment_that_another_made_at_the_same_moment(
    kedro: Callable[..., Any], image_folder: Path, tracking_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_run_makes_it_first(monkeypatch)
    result = kedro("--pipelines", "ingestion", params=f"images={image_folder}")
    assert result.exit_code == 0, result.output
    assert [each.name for each in MlflowClient(tracking_uri).search_experiments()].count(EXPERIMENT) == 1


def test_another_fault_of_the_store_is_not_tried_again(
    kedro: Callable[..., Any], image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fail(client: MlflowClient, name: str) -> None:
        calls.append(name)
        raise MlflowException("the store is out of order")

    monkeypatch.setattr(MlflowClient, "get_experiment_by_name", fail)
    result = kedro("--pipelines", "ingestion", params=f"images={image_folder}")
    assert str(result.exception) == "the store is out of order"
    assert len(calls) == 1
