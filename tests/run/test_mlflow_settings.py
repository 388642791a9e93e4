from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import PROJECT
from topwork.run.configuration import load_configuration
from topwork.run.mlflow_settings import settled

HERE = Path("/here/100%")


@pytest.mark.parametrize(
    ("given", "store", "artifacts"),
    [
        (None, "sqlite:////here/100%25/mlflow.db", "file:///here/100%25/mlartifacts"),
        ("sqlite:////there/runs.db", "sqlite:////there/runs.db", "file:///there/mlartifacts"),
        ("http://server:5000", "http://server:5000", None),
        ("postgresql://server/runs", "postgresql://server/runs", "file:///here/100%25/mlartifacts"),
    ],
    ids=["the project's", "a file elsewhere", "a server", "another database"],
)
def test_artifacts_lie_beside_the_database_that_they_belong_to(
    given: str | None, store: str, artifacts: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    found = settled(dict(load_configuration(PROJECT / "conf", None, {})["mlflow"]), HERE)
    assert found["server"]["mlflow_tracking_uri"] == store
    assert found["tracking"]["experiment"]["create_experiment_kwargs"].get("artifact_location") == artifacts
