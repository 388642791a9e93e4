"""A whole run on a table of images of two classes with columns of the user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from tests.conftest import COLOURS, image_bytes
from topwork.datasets.classifier_file import read_classifier

pytestmark = pytest.mark.slow


def table_of_images(folder: Path) -> Path:
    """Forty images of two similar classes; three of four are of site A, and two are of each patient."""
    rows = ["path,label,Site,patient,note"]
    for number in range(40):
        label = "red" if number % 4 == 0 else "green"
        (folder / f"{number}.png").write_bytes(image_bytes(number, COLOURS[label]))
        rows.append(f"{number}.png,{label},{'B' if number % 8 < 2 else 'A'},p{number // 8}{number % 4},n{number}")
    (folder / "table.csv").write_text("\n".join(rows))
    return folder / "table.csv"


def test_a_table_of_two_classes_gets_slices_and_a_threshold(
    kedro: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    table, reports = table_of_images(tmp_path), tmp_path / "data/08_reporting"
    wish = "groups=Patient,evaluation.recall_at_least=0.8,evaluation.certainty=0.5,split.folds=3"
    done = kedro(params=f"images={table},strategies=logistic,{wish}")
    assert done.exit_code == 0, done.output
    assert "note (40 values that are not all numbers)" in " ".join(done.output.split())
    attributes = pd.read_parquet(tmp_path / "data/02_intermediate/attributes.parquet").set_index("image_id")
    assert list(attributes.columns) == ["site", "patient", "note"]
    splits = pd.read_parquet(tmp_path / "data/03_primary/splits.parquet")
    assert (splits.groupby(splits["image_id"].map(attributes["patient"]))["fold"].nunique() == 1).all()

    slices = json.loads((reports / "logistic/slices.json").read_text())
    assert {(each["column"], each["value"]) for each in slices["scores"]} >= {("site", "A"), ("site", "B")}
    decision = read_classifier(tmp_path / "data/06_models/logistic").decision
    assert decision is not None
    assert decision.positive == "red"
    metrics = json.loads((reports / "logistic/metrics.json").read_text())
    assert metrics["threshold"] == decision.threshold
    assert metrics["oof_recall"] >= 0.8
    assert 0 <= metrics["auc_low"] <= metrics["auc"] <= metrics["auc_high"] <= 1
    assert "Answers: red is answered" in done.output
    page = (reports / "report.html").read_text()
    assert "Is it right equally often on all parts of the data?" in page
    assert "area under the ROC curve" in page
    client = mlflow.MlflowClient(tracking_uri)
    (child,) = client.search_runs(
        [each.experiment_id for each in client.search_experiments()], "tags.`topwork.strategy` = 'logistic'"
    )
    assert "slices.json" in {each.path for each in client.list_artifacts(child.info.run_id)}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("groups=person", "groups=person: images=TABLE names no column 'person'; its columns are site, patient, note."),
        ("slices=site+lens", "slices=site+lens: images=TABLE names no column 'lens'; its columns are"),
        (
            "evaluation.positive=gren",
            "evaluation.positive=gren: no such class; perhaps green? there are green and red.",
        ),
        ("evaluation.recall_at_least=0.9,evaluation.precision_at_least=0.9", "both given; one threshold keeps one"),
    ],
)
def test_what_cannot_be_is_refused_before_a_file_is_inspected(
    kedro: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture, given: str, told: str
) -> None:
    table = table_of_images(tmp_path)
    refused = kedro(params=f"images={table},{given}")
    assert refused.exit_code == 1
    assert told.replace("TABLE", str(table)) in " ".join(refused.output.split())
    assert not [each for each in caplog.records if each.levelname == "ERROR"]  # Kedro's nodes do not tell it too
    assert not (tmp_path / "data/02_intermediate/manifest.parquet").exists()
    assert not list((tmp_path / "data").glob("02_intermediate/files/*"))
