"""Labelling and monitoring, from a finished run on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
import pytest

from tests.conftest import COLOURS, fill, image_bytes
from topwork.datasets.image_folder import ImageFolderDataset

pytestmark = pytest.mark.slow


def new_folder(tmp_path: Path) -> Path:
    """Twelve new images, a copy of one of them, one that is labelled already, and a file that is no image."""
    folder = tmp_path / "new"
    folder.mkdir()
    for number in range(12):
        colour = list(COLOURS.values())[number % 3]
        (folder / f"{number:02d}.png").write_bytes(image_bytes(500 + number, colour))
    (folder / "copy.png").write_bytes((folder / "03.png").read_bytes())
    (folder / "known.png").write_bytes(next((tmp_path / "images/red").glob("0*.png")).read_bytes())
    (folder / "broken.png").write_bytes(b"broken")
    return folder


def test_new_images_are_asked_for_once_and_compared_and_their_labels_come_back(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path
) -> None:
    fill(tmp_path / "other", 3, first_seed=50)
    images, out = tmp_path / "images", tmp_path / "data/07_model_output/labelling"
    folder = new_folder(tmp_path)
    asked = f"images={images},new_images={folder},labelling.budget=6"
    asked += ",monitoring.permutations=99,monitoring.simulations=20"
    result = kedro_after_a_run("--pipelines", "labelling,monitoring", params=asked)
    assert result.exit_code == 0, result.output
    told = " ".join(result.output.split())
    table = pd.read_csv(out / "label_these.csv", keep_default_na=False)
    assert list(table.columns) == ["path", "label", "suggested", "confidence", "reason"]
    assert len(table) == 6 and table["label"].eq("").all() and set(table["suggested"]) <= set(COLOURS)
    assert not {"known.png", "broken.png"} & {Path(path).name for path in table["path"]}
    assert pd.read_csv(out / "not_usable.csv")["reason"].tolist() == ["not an image in a known format"]
    assert (out / "label_these.png").is_file() and "fill in the column label" in told

    drift = json.loads((tmp_path / "data/08_reporting/monitoring/drift.json").read_text())
    assert drift["images"] == 12 and drift["conclusion"] in told
    assert (tmp_path / "data/08_reporting/monitoring/foreign_images.png").is_file()
    logged = mlflow.MlflowClient().get_logged_model(drift["model_id"])
    assert {metric.key for metric in logged.metrics} >= {"drift.p", "drift.detectable"}

    crowned = json.loads((tmp_path / "data/08_reporting/champion.json").read_text())["strategy"]
    (other,) = {"logistic", "svm"} - {crowned}
    result = kedro_after_a_run(
        "--pipelines", "monitoring", params=f"{asked},model={tmp_path / 'data/06_models' / other}"
    )
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "data/08_reporting/monitoring/drift.json").read_text())["strategy"] == other

    table.loc[:1, "label"] = ["red", "a new class"]
    table.to_csv(out / "label_these.csv", index=False)
    result = kedro_after_a_run("--pipelines", "labelling", params=asked)
    assert result.exit_code == 0, result.output
    assert "2 of its rows have a label now" in " ".join(result.output.split())
    again = pd.read_csv(out / "label_these.csv", keep_default_na=False)
    assert again["label"].tolist() == ["red", "a new class", *[""] * 6]
    assert again["path"].is_unique and again["path"].tolist()[:2] == table["path"].tolist()[:2]

    for pipeline in ("labelling", "monitoring"):
        result = kedro_after_a_run(
            "--pipelines", pipeline, params=f"images={folder.parent / 'other'},new_images={folder}"
        )
        assert result.exit_code == 1
        assert "these are not the images that the run in this data folder learnt from" in " ".join(
            result.output.split()
        )

    joined = pd.read_parquet(out / "labelled_images.parquet")
    assert len(joined) == 30 + 2 and joined["label"].tolist()[-2:] == ["red", "a new class"]
    again[again["label"] != ""].to_csv(out / "label_these.csv", index=False)
    for name, count in (("labelled_images.parquet", 32), ("label_these.csv", 2)):
        store = ImageFolderDataset(path=str(out / name)).load()
        assert store.layout == "table" and len(store) == count
        assert store.listing["error"].eq("").all() and all(store[each] for each in store)


def test_what_cannot_be_compared_is_refused_in_a_line(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    for pipeline, params, message in (
        ("labelling", "", "No new images given: `kedro run --pipelines labelling"),
        ("monitoring", f"new_images={image_folder}", "no run has learnt from labelled images here"),
    ):
        result = kedro("--pipelines", pipeline, params=params)
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
        assert "Traceback" not in result.output
