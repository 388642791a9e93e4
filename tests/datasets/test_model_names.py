from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from topwork.datasets.model_names import told_of_run, told_of_uri

URI = "models:/flowers"
Logged = dict[str, str]  # ids of a model and its run
Both = tuple[Logged, Logged]


@pytest.fixture
def runs(tracking_uri: str) -> Both:
    """Two runs whose models are versions 1 and 2 of flowers; the first one is served."""
    client = MlflowClient(tracking_uri)
    client.create_registered_model("flowers")
    made = list[dict[str, str]]()
    for strategy in ("lda", "svm"):
        run = client.create_run("0").info.run_id
        model = client.create_logged_model("0", source_run_id=run).model_id
        client.create_model_version("flowers", f"models:/{model}", run_id=run, tags={"strategy": strategy})
        made.append({"model_id": model, "run_id": run})
    client.set_registered_model_alias("flowers", "champion", "1")
    return made[0], made[1]


def test_a_registered_model_is_called_by_strategy_version_and_run(runs: Both) -> None:
    assert told_of_uri(f"{URI}@champion") == f"lda, version 1 of flowers, run {runs[0]['run_id'][:8]}"
    assert told_of_uri(f"{URI}/2") == f"svm, version 2 of flowers, run {runs[1]['run_id'][:8]}"


@pytest.mark.parametrize("uri", [f"{URI}@nothing", "models:/m-1", "runs:/1/model"])
@pytest.mark.usefixtures("runs")
def test_what_the_registry_does_not_know_is_called_by_its_uri(uri: str) -> None:
    assert told_of_uri(uri) == uri


def test_a_classifier_that_is_served_is_told_without_another(runs: Both) -> None:
    assert told_of_run("lda", runs[0]) == (f"lda, version 1 of flowers, run {runs[0]['run_id'][:8]}", "")


@pytest.mark.parametrize(
    ("update", "named"), [({}, "svm, version 2 of flowers, run"), ({"model_id": "m-never-promoted"}, "svm, run")]
)
def test_where_another_model_is_served_the_way_to_it_is_told(runs: Both, update: Logged, named: str) -> None:
    name, other = told_of_run("svm", {**runs[1], **update})
    assert name.startswith(named)
    served = f"lda, version 1 of flowers, run {runs[0]['run_id'][:8]}"
    assert other == f"`make serve` serves another model, {served}: model=flowers asks that one."


@pytest.mark.usefixtures("tracking_uri")
def test_a_classifier_that_was_never_logged_has_the_name_of_its_strategy() -> None:
    assert told_of_run("svm", {}) == ("svm", "")


def test_a_registry_that_does_not_answer_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    def lost(*_: object, **__: object) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(MlflowClient, "search_model_versions", lost)
    assert told_of_run("svm", {"model_id": "m-1", "run_id": "12345678900"}) == ("svm, run 12345678", "")
