from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import COLOURS, image_bytes
from tests.datasets.test_feature_store import KEY
from topwork.core.classifier import Classifier, Decision
from topwork.core.errors import InputError
from topwork.core.heads import LinearHead
from topwork.datasets.classifier_file import read_classifier
from topwork.inference.predictor import Predictor
from topwork.pipelines.prediction.nodes import answer_order

pytestmark = pytest.mark.slow


@pytest.fixture
def trained(kedro_after_a_run: Callable[..., Any]) -> Callable[..., Any]:
    return kedro_after_a_run


def test_every_file_has_its_own_row_in_the_order_of_the_names_whatever_lies_between(
    trained: Callable[..., Any], tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    contents = {}
    for number in range(30):
        name = list(COLOURS)[number % 3]
        path = folder / f"deep{number % 2}" / f"{number:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        contents[f"deep{number % 2}/{number:02d}.png"] = image_bytes(100 + number, COLOURS[name])
        path.write_bytes(contents[f"deep{number % 2}/{number:02d}.png"])
    for number in range(0, 30, 4):
        (folder / "deep0" / f"{number:02d}-broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(number))
    (folder / "deep1" / "empty.png").touch()

    result = trained("--pipelines", "prediction", params=f"new_images={folder}")
    assert result.exit_code == 0, result.output
    out = tmp_path / "data/07_model_output/new"
    found = pd.read_csv(out / "predictions.csv", keep_default_na=False)
    assert found["image_id"].tolist() == sorted(found["image_id"])
    assert len(found) == 30 + 8 + 1
    usable = found[found["status"] == "ok"].set_index("image_id")
    assert "Answers of logistic, version 1 of images, run " in " ".join(result.output.split())
    assert "predictions.csv; look at" in " ".join(result.output.split())
    alone = Predictor.of(read_classifier(tmp_path / "data/06_models/logistic"))
    assert usable["label"].to_dict() == {name: alone.predict([each])["label"][0] for name, each in contents.items()}
    rejected = found[found["status"] == "rejected"].set_index("image_id")
    assert rejected["label"].eq("").all() and rejected["reason"].ne("").all()
    assert rejected.loc["deep1/empty.png", "reason"] == "empty file"
    assert {path.name[4:] for path in (out / "sheets").iterdir()} == {"blue.png", "green.png", "red.png"}

    whole = pd.read_parquet(out / "predictions.parquet").set_index("image_id")
    probabilities = np.stack(whole.loc[usable.index, "probabilities"])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    names = np.array(whole.attrs["class_names"])
    assert names[probabilities.argmax(axis=1)].tolist() == usable["label"].tolist()


def test_what_was_answered_is_not_asked_again_but_for_another_model(
    trained: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    params = f"new_images={image_folder}"
    assert trained("--pipelines", "prediction", params=params).exit_code == 0
    shards = tmp_path / "data/07_model_output/new/answers"
    assert len(list(shards.iterdir())) == 1
    assert trained("--pipelines", "prediction", params=params).exit_code == 0
    assert len(list(shards.iterdir())) == 1
    other = f"images={image_folder},strategies=logistic,logistic.C=[0.5],comparison.promote=never"
    assert trained(params=other).exit_code == 0
    assert trained("--pipelines", "prediction", params=params).exit_code == 0
    assert len(list(shards.iterdir())) == 2

    named = image_folder.name
    result = trained("--pipelines", "prediction", params=f"{params},model={named}")
    assert result.exit_code == 0, result.output
    result = trained("--pipelines", "prediction", params=f"{params},model=models:/{named}@champion")
    assert result.exit_code == 0, result.output
    assert len(list(shards.iterdir())) == 3


def test_what_is_not_there_is_refused_in_a_line(kedro: Callable[..., Any], image_folder: Path, tmp_path: Path) -> None:
    for params, message in {
        "": "No new images given",
        f"new_images={tmp_path / 'nowhere'}": "there is no such folder",
        f"new_images={image_folder}": "no run has left a champion",
        f"new_images={image_folder},model=models:/nobody@champion": "model=models:/nobody@champion: cannot be had",
    }.items():
        result = kedro("--pipelines", "prediction", params=params)
        assert result.exit_code == 1
        assert message in " ".join(result.output.split())
        assert "Traceback" not in result.output


def test_what_is_exported_answers_as_trained_or_is_not_let_out(
    trained: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "data/06_models/onnx/model.onnx"
    result = trained("--pipelines", "export", params=f"images={image_folder},export.tolerance=1e-12")
    assert "differs by" in " ".join(result.output.split())
    assert not file.exists()
    result = trained("--pipelines", "export", params=f"images={image_folder}")
    assert result.exit_code == 0, result.output
    assert file.stat().st_size > 10_000_000
    assert f" is {file}." in result.output
    assert "The ONNX file of logistic, version 1 of images, run " in result.output
    result = trained("--pipelines", "export", params=f"images={image_folder},export.format=onnx-int8")
    assert result.exit_code == 0, result.output
    assert file.stat().st_size < 5_000_000
    told = " ".join(result.output.split())
    assert "of labels as the classifier's on" in told
    assert "ms an image instead of" in told


def test_explanations_that_cannot_be_had_are_refused_before_any_answer(
    trained: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without_maps(_classifier: Any) -> None:
        raise InputError("this network has no feature maps to explain by.")

    monkeypatch.setattr("topwork.inference.explanation.class_heat", without_maps)
    asked = f"new_images={tmp_path / 'images'},prediction.explain=2"
    result = trained("--pipelines", "prediction", params=asked)
    assert result.exit_code == 1
    assert result.output.count("no feature maps to explain by") == 1
    assert not (tmp_path / "data/07_model_output/new").exists()


def test_the_class_of_the_threshold_comes_first_and_the_others_by_probability() -> None:
    two = Classifier("svm", KEY, LinearHead(np.zeros((2, 2)), np.zeros(2)), ("cat", "dog"), 1.0, "split")
    probabilities = np.array([[0.7, 0.3], [0.9, 0.1], [np.nan, np.nan]])
    assert answer_order(two, probabilities)[:2].tolist() == [[0, 1], [0, 1]]
    decided = replace(two, decision=Decision("dog", 0.2, "recall >= 0.9"))
    assert answer_order(decided, probabilities)[:2].tolist() == [[1, 0], [0, 1]]
