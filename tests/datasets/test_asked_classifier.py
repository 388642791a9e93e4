from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from tests.datasets.test_checked import classifier
from topwork.datasets.asked_classifier import AskedClassifierDataset
from topwork.datasets.checked import write_json
from topwork.datasets.classifier_file import write_classifier


def asked(folder: Path) -> AskedClassifierDataset:
    return AskedClassifierDataset(
        model=None, champion=str(folder / "champion.json"), classifiers=str(folder / "classifiers")
    )


def crowned(folder: Path, model: str, logged: str) -> None:
    write_json(folder / "champion.json", {"strategy": "svm", "model_id": model})
    write_classifier(classifier(1.0), folder / "classifiers" / "svm")
    write_json(folder / "classifiers" / "svm" / "logged_model.json", {"model_id": logged})


def test_without_a_name_the_champion_of_the_last_run_is_asked(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    crowned(tmp_path, "m-1", "m-1")
    assert asked(tmp_path).load().class_names == classifier(1.0).class_names
    assert caplog.text == ""


def test_a_champion_that_was_trained_again_without_a_comparison_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    crowned(tmp_path, "m-1", "m-2")
    asked(tmp_path).load()
    assert "svm was trained again after it became the champion" in caplog.text


def test_the_classifier_knows_its_logged_model_and_a_folder_without_one_has_none(tmp_path: Path) -> None:
    crowned(tmp_path, "m-1", "m-1")
    assert asked(tmp_path).logged_model() == "m-1"
    folder = AskedClassifierDataset(model=str(tmp_path), champion="", classifiers="")
    assert folder.logged_model() == ""


@pytest.mark.parametrize("content", [None, "{", '{"strategy": null}'], ids=["none", "damaged", "no strategy"])
def test_where_no_run_left_a_champion_the_way_out_is_told(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "champion.json").write_text(content)
    with pytest.raises(DatasetError, match="no run has left a champion here"):
        asked(tmp_path).load()
