"""Whole runs on small data, in a real MLflow store."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import requests
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from tests.conftest import PROJECT, fill, image_bytes, scene
from topwork.core.columns import MANIFEST_COLUMNS, PREDICTION_COLUMNS, SPLIT_COLUMNS
from topwork.datasets.classifier_file import read_classifier
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.features import FeaturesDataset
from topwork.inference.predictor import Predictor
from topwork.run.locks import sole_run

pytestmark = pytest.mark.slow


def runs_of(uri: str) -> tuple[list[Run], list[Run]]:
    """Parents and children, oldest first."""
    client = MlflowClient(uri)
    every = client.search_runs([each.experiment_id for each in client.search_experiments()])
    children = [run for run in every if "mlflow.parentRunId" in run.data.tags]
    parents = [run for run in every if run not in children]
    return [sorted(runs, key=lambda run: run.info.start_time) for runs in (parents, children)]  # type: ignore[return-value]


def leaderboard(tmp_path: Path) -> dict[str, dict[str, Any]]:
    rows = json.loads((tmp_path / "data/08_reporting/leaderboard.json").read_text())
    return {row["strategy"]: row for row in rows}


def metrics_of(tmp_path: Path) -> dict[str, dict[str, Any]]:
    files = (tmp_path / "data/08_reporting").glob("*/metrics.json")
    return {path.parent.name: json.loads(path.read_text()) for path in files}


def vectors(tmp_path: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    found = {}
    for path in (tmp_path / "features").glob("*/*.safetensors"):
        content = load_file(path)
        for name, vector in zip(content["sha256"], content["vectors"], strict=True):
            found[name.tobytes().hex()] = vector
    return found


@pytest.mark.usefixtures("kedro_after_a_run")
def test_a_folder_becomes_a_logged_evaluated_classifier(tmp_path: Path, tracking_uri: str) -> None:
    data = tmp_path / "data"

    manifest = pd.read_parquet(data / "02_intermediate/manifest.parquet")
    assert tuple(manifest.columns) == MANIFEST_COLUMNS
    assert (manifest["status"] == "ok").sum() == 30
    splits = pd.read_parquet(data / "03_primary/splits.parquet")
    assert tuple(splits.columns) == SPLIT_COLUMNS
    for strategy in ("svm", "logistic"):
        predictions = pd.read_parquet(data / f"07_model_output/{strategy}/predictions.parquet")
        assert tuple(predictions.columns) == PREDICTION_COLUMNS
        assert set(predictions["image_id"]) == set(splits.loc[splits["split"] == "test", "image_id"])
        assert (predictions["label"] == predictions["image_id"].str.split("/").str[0]).all()
        metrics = json.loads((data / f"08_reporting/{strategy}/metrics.json").read_text())
        right = (predictions["label"] == predictions["predicted"]).mean()
        assert metrics["accuracy"] == right == leaderboard(tmp_path)[strategy]["accuracy"]
        assert metrics["accuracy"] > 0.8  # plain colours are easy
        assert read_classifier(data / f"06_models/{strategy}").class_names == ("blue", "green", "red")
        serving = json.loads((data / f"08_reporting/{strategy}/serving.json").read_text())
        assert (serving["status"], serving["same_label"]) == ("ok", 1)
        assert serving["max_difference"] < 1e-4
        assert leaderboard(tmp_path)[strategy]["megabytes"] > 10
        assert (data / f"08_reporting/{strategy}/mistakes.png").stat().st_size > 5000

    (parent,), children = runs_of(tracking_uri)
    assert {run.info.run_name for run in children} == {"svm", "logistic"}
    assert {run.info.status for run in (parent, *children)} == {"FINISHED"}
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert parent.data.params["backbone"] == "efficientnet_lite0"
    assert "features.backbone" not in parent.data.params  # which has the same value
    assert parent.data.params["svm.class_weight"] == "none"
    assert children[0].data.metrics.keys() == children[1].data.metrics.keys()
    assert {"accuracy", "oof_accuracy_low", "log_loss", "train_seconds"} <= children[0].data.metrics.keys()
    assert {each.dataset.name for each in parent.inputs.dataset_inputs} == {"manifest", "splits"}
    assert parent.data.tags["topwork.git_dirty"] in {"true", "false"}
    assert parent.data.tags["version.torch"]

    client = MlflowClient(tracking_uri)
    models = client.search_logged_models([parent.info.experiment_id])
    assert {model.name for model in models} == {"svm", "logistic"}
    for model in models:
        run = next(run for run in children if run.info.run_id == model.source_run_id)
        carried = {metric.key: metric.value for metric in model.metrics}
        assert carried["accuracy"] == run.data.metrics["accuracy"]
    assert mlflow.active_run() is None

    predictions = pd.read_parquet(data / "07_model_output/svm/predictions.parquet")
    served = mlflow.pyfunc.load_model(f"models:/{next(m for m in models if m.name == 'svm').model_id}")
    answer = served.predict(pd.DataFrame({"image": [Path(path).read_bytes() for path in predictions["path"]]}))
    assert answer["label"].tolist() == predictions["predicted"].tolist()
    np.testing.assert_allclose(answer["confidence"], predictions["confidence"], atol=1e-5)


def test_the_alias_champion_moves_only_to_a_better_model(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    kedro, image_folder = kedro_after_a_run, tmp_path / "images"

    def champion() -> tuple[str, dict[str, Any]]:
        version = MlflowClient(tracking_uri).get_model_version_by_alias("images", "champion")
        return str(version.version), json.loads((tmp_path / "data/08_reporting/champion.json").read_text())

    version, told = champion()
    assert (version, told["promoted"], told["promotion"]) == ("1", True, "the first champion")
    assert "Champion: logistic" in (tmp_path / "output.txt").read_text()
    served = mlflow.pyfunc.load_model("models:/images@champion")
    picture = next(image_folder.glob("red/*.png"))
    assert served.predict(pd.DataFrame({"image": [picture.read_bytes()]}))["label"].tolist() == ["red"]

    kedro("--pipelines", "comparison", params=f"images={image_folder}")
    assert champion()[1]["promotion"] == "it is the champion already"

    few = "comparison.fewest_images=10"
    assert kedro(params=f"images={image_folder},{few},seed=1").exit_code == 0
    version, told = champion()
    assert (version, told["promoted"], told["against"]) == ("1", False, "1")
    assert "not shown to be better on 24 images that both were scored on out of fold" in told["promotion"]

    fill(image_folder, 5, first_seed=500)
    assert kedro(params=f"images={image_folder},{few}").exit_code == 0
    version, told = champion()
    assert version == "1"
    assert "images that the champion never learnt from" in told["promotion"]
    assert told["difference"]["images"] >= 10


def test_a_second_run_computes_only_what_is_new(kedro_after_a_run: Callable[..., Any], tmp_path: Path) -> None:
    kedro, image_folder = kedro_after_a_run, tmp_path / "images"
    before = set((tmp_path / "features").glob("*/*.safetensors"))
    splits = pd.read_parquet(tmp_path / "data/03_primary/splits.parquet").set_index("image_id")
    kept = vectors(tmp_path)

    (image_folder / "red" / "one_more.png").write_bytes(image_bytes(99))
    assert kedro(params=f"images={image_folder}").exit_code == 0
    (new,) = set((tmp_path / "features").glob("*/*.safetensors")) - before
    assert len(vectors(tmp_path)) == 31
    for name, vector in kept.items():
        np.testing.assert_array_equal(vectors(tmp_path)[name], vector)
    after = pd.read_parquet(tmp_path / "data/03_primary/splits.parquet").set_index("image_id")
    pd.testing.assert_series_equal(after.loc[splits.index, "fold"], splits["fold"])
    assert new.stat().st_size < 20_000


def test_a_strategy_that_fails_leaves_the_other_standing(
    kedro: Callable[..., Any],
    image_folder: Path,
    tmp_path: Path,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("no convergence today")

    monkeypatch.setattr("topwork.training.heads.logistic.multinomial_logistic", broken)
    result = kedro(params=f"images={image_folder}")
    assert result.exit_code == 1
    assert "logistic failed" in result.output
    board = leaderboard(tmp_path)
    assert (board["logistic"]["status"], board["logistic"]["reason"]) == ("failed", "no convergence today")
    assert board["logistic"]["accuracy"] is None
    assert board["svm"]["status"] == "ok"
    (parent,), children = runs_of(tracking_uri)
    assert {run.info.run_name: run.info.status for run in children} == {"logistic": "FAILED", "svm": "FINISHED"}
    assert parent.info.status == "FAILED"
    assert parent.data.tags["topwork.failed_strategies"] == "logistic"


def test_ctrl_c_closes_every_run_as_killed(
    kedro: Callable[..., Any],
    image_folder: Path,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("topwork.training.heads.svm.linear_svm", interrupted)
    result = kedro(params=f"images={image_folder}")
    assert result.exit_code == 130
    assert "Stopped" in result.output
    (parent,), children = runs_of(tracking_uri)
    assert parent.info.status == "KILLED"
    assert {run.info.run_name: run.info.status for run in children} == {"logistic": "FINISHED", "svm": "KILLED"}


def test_a_run_whose_mlflow_server_dies_keeps_its_files_and_says_so_in_a_line(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def dead(*arguments: object, **_: object) -> None:
        asked.append(arguments)
        raise mlflow.MlflowException("API request failed") from requests.exceptions.ConnectionError("refused")

    monkeypatch.setattr(MlflowClient, "log_dict", dead)  # the report of the split
    result = kedro(params=f"images={image_folder},strategies=svm")
    assert result.exit_code == 1
    assert result.output.strip().splitlines()[-1].startswith("Error: The MLflow server does not answer any more.")
    assert len(asked) == 1  # it is asked no further
    assert (tmp_path / "data/02_intermediate/manifest.parquet").exists()


def test_a_second_run_in_the_same_folder_is_refused_before_it_touches_anything(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path, tracking_uri: str
) -> None:
    with sole_run(tmp_path / "data", "run"):
        result = kedro(params=f"images={image_folder}")
    assert result.exit_code == 1
    assert f"another run (process {os.getpid()}) works here" in result.output
    assert runs_of(tracking_uri) == [[], []]


def test_half_written_files_of_an_earlier_run_stop_nothing(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    for name in ("last_complete_run.json", "08_reporting/svm/metrics.json", "08_reporting/advice.json"):
        (data / name).write_text('{"a": ')
    (data / "08_reporting/leaderboard.json").write_bytes(b"")
    damaged = next((data / "02_intermediate/files").glob("*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    result = kedro_after_a_run("--pipelines", "ingestion,comparison", params=f"images={tmp_path / 'images'}")
    assert result.exit_code == 0, result.output
    rows = leaderboard(tmp_path)
    assert (rows["svm"]["status"], rows["logistic"]["status"]) == ("not run", "ok")


def test_a_run_tells_stages_in_single_lines_and_ends_with_what_to_do_next(finished_run: Path) -> None:
    lines = (finished_run / "output.txt").read_text().splitlines()
    assert "Reading images: 30 images of 3 classes; 1 file rejected: 1 not an image in a known format" in lines
    assert not any(line.endswith(" ") or ".train" in line or "images/s" in line for line in lines)
    assert [line.split()[0] for line in lines[lines.index("Next:") + 1 :]] == ["report", "runs", "server"]


def test_the_page_answers_first_and_says_at_its_end_how_to_repeat_the_run(finished_run: Path) -> None:
    page = (finished_run / "data/08_reporting/report.html").read_text()
    wanted = (
        *("What was learnt", "How sure is that?", "What it costs", "What to do next", "All strategies side by side"),
        *("Is the difference real?", "Which classes are confused?", "Worst mistakes", "Would more images help?"),
        *("files that cannot be used", "near-duplicates", "labels that may be wrong", "How to repeat this run"),
    )
    places = [page.index(heading + "</h2>") for heading in wanted]
    assert places == sorted(places)
    assert "red/broken.png" in page
    assert f"images={finished_run / 'images'}" in page[places[-1] :]
    assert "topwork " in page[places[-1] :]


def test_what_the_champion_was_chosen_by_stands_on_the_parent_run(finished_run: Path) -> None:
    (parent,), _ = runs_of(f"sqlite:///{finished_run / 'mlflow.db'}")
    rows = {
        row["strategy"]: row for row in json.loads((finished_run / "data/08_reporting/leaderboard.json").read_text())
    }
    champion = rows[parent.data.tags["topwork.champion"]]
    assert parent.data.metrics["oof_accuracy"] == champion["oof_accuracy"]
    assert parent.data.metrics["accuracy"] == champion["accuracy"]
    assert parent.data.metrics["oof_images"] == champion["oof_images"] == 24
    assert parent.data.metrics["svm.oof_accuracy"] == rows["svm"]["oof_accuracy"]
    assert parent.data.metrics["svm.test_accuracy"] == rows["svm"]["accuracy"]
    assert parent.data.tags["mlflow.note.content"].startswith(f"{champion['strategy']}: accuracy ")


def test_the_parent_run_leads_to_the_model_and_the_model_to_its_version_and_its_data(finished_run: Path) -> None:
    uri = f"sqlite:///{finished_run / 'mlflow.db'}"
    client, ((parent,), _) = MlflowClient(uri), runs_of(uri)
    (output,) = parent.outputs.model_outputs
    model = client.get_logged_model(output.model_id)
    assert model.name == parent.data.tags["topwork.champion"]
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "images", "version": "1"}]
    assert {metric.dataset_name for metric in model.metrics if metric.key == "accuracy"} == {"splits"}


def test_a_plain_kedro_session_is_tracked_too_and_an_interrupted_one_is_closed_by_the_next(
    kedro: Callable[..., Any],
    image_folder: Path,
    tmp_path: Path,
    tracking_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from kedro.framework.session import KedroSession

    def session(**options: Any) -> None:
        params = {
            "images": str(image_folder),
            "data": str(tmp_path / "data"),
            "store": str(tmp_path / "features"),
            "image_size": 32,
            "scratch": {"epochs": 1},
            "finetune": {"epochs": 1},
            "evaluation": {"resamples": 100},
        }
        with KedroSession.create(PROJECT, runtime_params=params) as opened:
            opened.run(**options)

    def interrupted(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)  # Kedro runs nodes in a thread, and the interrupt arrives in the main one

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with monkeypatch.context() as patch:
        patch.setattr("topwork.pipelines.features.nodes.requested_features", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            session(pipeline_names=["ingestion", "features"])
        patch.setattr("topwork.pipelines.features.nodes.requested_features", interrupted)
        with pytest.raises(KeyboardInterrupt):
            session(pipeline_names=["ingestion", "features"])
    signal.signal(signal.SIGINT, before)
    session(pipeline_names=["ingestion", "features", "splitting", "classifier"])
    session(pipeline_names=["evaluation"], namespaces=["svm", "logistic"])
    parents, children = runs_of(tracking_uri)
    assert [run.info.status for run in parents] == ["FAILED", "KILLED", "FINISHED", "FINISHED"]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {run.info.run_id for run in parents[2:]}

    def broken(*arguments: object) -> None:
        raise RuntimeError("no convergence today")

    monkeypatch.setattr("topwork.pipelines.classifier.nodes.fit_once", broken)
    with pytest.raises(RuntimeError):
        session(pipeline_names=["classifier"])
    status = {strategy: row["status"] for strategy, row in metrics_of(tmp_path).items()}
    assert status == {"lda": "failed", "logistic": "ok", "svm": "ok"}  # the first of them ends the session


def test_a_strategy_that_cannot_even_load_its_inputs_is_a_failed_one(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    kedro, image_folder = kedro_after_a_run, tmp_path / "images"
    (tmp_path / "data/04_feature/features.safetensors").write_bytes(b"damaged")
    result = kedro("--pipelines", "classifier", params=f"images={image_folder},strategies=svm")
    assert result.exit_code == 1
    assert runs_of(tracking_uri)[1][-1].info.status == "FAILED"
    assert metrics_of(tmp_path)["svm"]["status"] == "ok"  # as the leaderboard says that still lies there
    kedro("--pipelines", "classifier,evaluation,comparison", params=f"images={image_folder},strategies=svm")
    assert leaderboard(tmp_path)["svm"]["status"] == metrics_of(tmp_path)["svm"]["status"] == "failed"


def test_near_duplicates_stay_together_and_what_a_blind_split_would_claim_is_said(
    kedro: Callable[..., Any], tmp_path: Path
) -> None:
    image_folder = tmp_path / "scenes"
    for seed in range(24):
        path = image_folder / f"class {seed % 2}" / f"{seed}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(seed).save(path)
    originals = sorted(image_folder.glob("*/?.png"))
    for path in originals:
        with Image.open(path) as picture:
            picture.resize((200, 150)).save(path.with_name(f"copy-{path.name}"))
    result = kedro("--pipelines", "ingestion,features,splitting", params=f"images={image_folder}")
    assert result.exit_code == 0, result.output
    splits = pd.read_parquet(tmp_path / "data/03_primary/splits.parquet").set_index("image_id")
    for path in originals:
        one, copy = (f"{path.parent.name}/{name}" for name in (path.name, f"copy-{path.name}"))
        assert splits.loc[one, "group"] == splits.loc[copy, "group"]
        assert splits.loc[one, "fold"] == splits.loc[copy, "fold"]
    leaks = json.loads((tmp_path / "data/08_reporting/leaks.json").read_text())
    assert (leaks["pairs"], leaks["torn_here"]) == (len(originals), 0)
    assert leaks["torn_by_a_blind_split"] > 0
    assert 0 < leaks["accuracy_here"] <= 1
    assert "would tear" in result.output
    assert (tmp_path / "data/03_primary/near_duplicates.png").stat().st_size > 10_000

    kept = kedro("--pipelines", "splitting", params=f"images={image_folder},duplicates.merge=false,split_seed=5")
    assert kept.exit_code == 0, kept.output
    assert json.loads((tmp_path / "data/08_reporting/leaks.json").read_text())["torn_here"] > 0


def test_wrong_labels_are_suggested_and_the_users_ledger_is_honoured(kedro: Callable[..., Any], tmp_path: Path) -> None:
    images = fill(tmp_path / "images", 20)
    for number, path in enumerate(sorted((images / "red").glob("*.png"))[:2]):
        path.rename(images / "blue" / f"x{number}.png")
    result = kedro(params=f"images={images},strategies=logistic")
    assert result.exit_code == 0, result.output
    suggestions = pd.read_csv(tmp_path / "data/08_reporting/label_suggestions.csv")
    doubted = suggestions[suggestions["image_id"].str.contains("x")]
    assert len(doubted) and set(doubted["label"]) == {"red"}
    assert (tmp_path / "data/08_reporting/label_suggestions.png").stat().st_size > 5000

    ledger = tmp_path / "data/01_raw/label_ledger.csv"
    ledger.parent.mkdir(parents=True, exist_ok=True)
    text = "image_id,action,label\nblue/x0.png,relabel,red\nblue/x1.png,drop,\n"
    ledger.write_text(text)
    again = kedro(params=f"images={images},strategies=logistic")
    assert again.exit_code == 0, again.output
    assert "images: all from the store" in again.output  # nothing is computed anew
    manifest = pd.read_parquet(tmp_path / "data/02_intermediate/manifest.parquet").set_index("image_id")
    assert manifest.loc["blue/x0.png", ["label", "status"]].tolist() == ["red", "ok"]
    assert manifest.loc["blue/x1.png", ["status", "reason"]].tolist() == ["rejected", "dropped in the label ledger"]
    suggestions = pd.read_csv(tmp_path / "data/08_reporting/label_suggestions.csv", dtype=str)
    assert not suggestions["image_id"].str.contains("x").any()
    assert ledger.read_text() == text

    ledger.write_text(text.replace("drop", "remove"))
    refused = kedro(params=f"images={images}")
    assert refused.exit_code == 1
    assert "blue/x1.png: action 'remove' is not keep, relabel or drop" in refused.output


def test_auto_runs_what_the_advice_cannot_rule_out_and_says_what_it_skips(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    result = kedro(params=f"images={image_folder},strategies=auto")
    assert result.exit_code == 0, result.output
    advice = json.loads((tmp_path / "data/08_reporting/advice.json").read_text())
    assert advice["worth_running"][0] == "logistic"
    rows = leaderboard(tmp_path)
    assert rows["logistic"]["status"] == "ok"
    skipped = {name: row["reason"] for name, row in rows.items() if row["status"] == "skipped"}
    for name, reason in skipped.items():
        assert f"{name} skipped: {reason}".split(":")[0] in result.output
    assert set(advice["ruled_out"]) <= set(skipped)
    assert skipped
    assert not any(row["earlier"] for row in rows.values())
    assert (tmp_path / "data/08_reporting/probe_curve.png").stat().st_size > 5000


def test_a_result_of_an_earlier_run_is_never_shown_as_one_of_this_run(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("topwork.decisions.advisor.why_stop", lambda done: "no room for a gain" if done else "")
    result = kedro_after_a_run(params=f"images={tmp_path / 'images'},strategies=auto")
    assert result.exit_code == 0, result.output
    rows = leaderboard(tmp_path)
    assert (rows["logistic"]["earlier"], rows["svm"]["status"], rows["lda"]["status"]) == ("", "ok", "skipped")
    assert rows["svm"]["earlier"].startswith("skipped in this run: ")
    for shown in (result.output, (tmp_path / "data/08_reporting/report.html").read_text()):
        assert f"svm: the result of an earlier run ({rows['svm']['earlier']})." in shown


def test_a_history_without_runs_is_refused_in_a_line(kedro: Callable[..., Any], image_folder: Path) -> None:
    nothing = kedro("--pipelines", "history", params=f"images={image_folder}")
    assert nothing.exit_code == 1
    assert "Traceback" not in nothing.output


def test_the_history_tells_what_each_run_changed_and_the_page_what_was_found(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    kedro, image_folder = kedro_after_a_run, tmp_path / "images"
    assert kedro(params=f"images={image_folder},strategies=logistic,logistic.C=[10]").exit_code == 0
    result = kedro("--pipelines", "history", params=f"images={image_folder}")
    assert result.exit_code == 0, result.output
    history = pd.read_csv(tmp_path / "data/08_reporting/history.csv")
    of_logistic = history[history["strategy"] == "logistic"]
    assert of_logistic["changed"].tolist() == ["first run", "logistic.C: [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0] → [10]"]
    assert of_logistic["verdict"].tolist()[1] in {"noise", "better", "worse"}
    assert (tmp_path / "data/08_reporting/history.png").stat().st_size > 5000

    first = next(run for run in runs_of(tracking_uri)[1] if run.info.run_name == "logistic").info.run_id
    params = f"images={image_folder},strategies=logistic,compare_runs={first}"
    assert kedro("--pipelines", "comparison,report", params=params).exit_code == 0
    assert leaderboard(tmp_path)[f"logistic {first[:8]}"]["status"] == "ok"
    unknown = kedro("--pipelines", "comparison", params=f"images={image_folder},compare_runs=nothing")
    assert "compare_runs=nothing: no such run" in unknown.output

    page = (tmp_path / "data/08_reporting/report.html").read_text()
    assert "<strong>Take logistic.</strong>" in page
    assert page.count("<svg") == 4
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)  # nothing is fetched from elsewhere


def test_training_without_features_says_what_to_run_first(kedro: Callable[..., Any], image_folder: Path) -> None:
    assert kedro("--pipelines", "ingestion", params=f"images={image_folder}").exit_code == 0
    result = kedro("--namespaces", "svm", params=f"images={image_folder}")
    assert "no features yet; run `--pipelines ingestion,features,splitting` first." in result.output
    assert "Traceback" not in result.output
    assert "What else" not in result.output
    result = kedro("--namespaces", "svm", "--pipelines", "features", params=f"images={image_folder}")
    assert "The namespaces of what is asked for are features" in result.output


def test_a_later_evaluation_adds_to_the_same_model(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    image_folder = tmp_path / "images"
    result = kedro_after_a_run(
        "--pipelines", "evaluation", "--namespaces", "svm", params=f"images={image_folder},evaluation.seed=1"
    )
    assert result.exit_code == 0, result.output
    client = MlflowClient(tracking_uri)
    parents, children = runs_of(tracking_uri)
    (model,) = client.search_logged_models([parents[0].info.experiment_id], "name = 'svm'")
    of_svm = [run for run in children if run.info.run_name == "svm"]
    assert model.source_run_id == of_svm[0].info.run_id
    assert {metric.run_id for metric in model.metrics} == {run.info.run_id for run in of_svm}
    assert len(of_svm) == 2
    assert parents[1].data.params["split.folds"] == "3"  # all parameters, whatever part ran


def test_scores_of_another_split_are_compared_on_the_images_that_both_were_scored_on_out_of_fold(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path
) -> None:
    result = kedro_after_a_run(params=f"images={tmp_path / 'images'},split_seed=1,strategies=svm")
    assert result.exit_code == 0, result.output
    rows = leaderboard(tmp_path)
    assert (rows["svm"]["status"], rows["svm"]["shared_images"]) == ("ok", 24)
    assert (rows["logistic"]["status"], rows["logistic"]["accuracy"]) == ("other split", None)
    out_of_fold = [
        set(pd.read_parquet(tmp_path / f"data/07_model_output/{name}/out_of_fold.parquet")["image_id"])
        for name in ("svm", "logistic")
    ]
    assert rows["logistic"]["shared_images"] == len(set.intersection(*out_of_fold)) < 24
    assert "logistic other split: scored on another split, or with other labels" in result.output


def test_the_run_file_repeats_the_run(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path, tracking_uri: str
) -> None:
    assert kedro(params=f"images={image_folder},strategies=svm,svm.C=[0.001]").exit_code == 0
    (parent,), _ = runs_of(tracking_uri)
    text = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/run.yml")
    assert yaml.safe_load(text)["run"]["params"]["svm"]["C"] == [0.001]
    (tmp_path / "run.yml").write_text(text)
    (tmp_path / "data/08_reporting/svm/metrics.json").rename(tmp_path / "before.json")

    from click.testing import CliRunner
    from kedro.framework.startup import bootstrap_project

    from topwork.run.cli import cli

    again = CliRunner().invoke(cli, ["run", "--config", str(tmp_path / "run.yml")], obj=bootstrap_project(PROJECT))
    assert again.exit_code == 0, again.output
    metrics = json.loads((tmp_path / "data/08_reporting/svm/metrics.json").read_text())
    assert metrics == json.loads((tmp_path / "before.json").read_text())


def test_only_missing_outputs_is_refused_where_parameters_or_files_have_changed(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    params = f"images={image_folder},strategies=all"
    assert "No complete run" in kedro("--only-missing-outputs", params=params).output
    assert kedro(params=params).exit_code == 0
    (tmp_path / "data/08_reporting/svm/mistakes.png").unlink()
    assert kedro("--only-missing-outputs", params=params).exit_code == 0
    assert (tmp_path / "data/08_reporting/svm/mistakes.png").exists()
    other = kedro("--only-missing-outputs", params=f"{params},evaluation.seed=3")
    assert "made with evaluation.seed=0, not 3" in other.output
    (image_folder / "red" / "new.png").write_bytes(image_bytes(5))
    assert "image files have changed" in kedro("--only-missing-outputs", params=params).output
    assert kedro("--pipelines", "splitting", params=f"{params},split_seed=1").exit_code == 0
    assert "No complete run" in kedro("--only-missing-outputs", params=params).output


def test_features_of_other_parameters_are_refused(kedro: Callable[..., Any], image_folder: Path) -> None:
    assert kedro("--pipelines", "ingestion,features,splitting", params=f"images={image_folder}").exit_code == 0
    result = kedro("--pipelines", "classifier", params=f"images={image_folder},features.number_format=bfloat16")
    assert result.exit_code == 1
    assert "made with number_format=float32, but number_format=bfloat16" in result.output


@pytest.mark.parametrize(
    ("arguments", "params", "message"),
    [
        ([], "", "images=DIR"),
        ([], "imagse=x", "perhaps images?"),
        ([], "images=/no/such/place", "/no/such/place"),
        ([], "strategies=swm", "perhaps svm?"),
        ([], "features.batch_size=0", "greater than 0"),
        (["--pipelines", "ingest"], "", "perhaps ingestion?"),
        (["--runner", "ParallelRunner"], "", "ParallelRunner is not for this project"),
    ],
)
def test_a_refusal_is_one_line_and_leaves_no_trace(
    kedro: Callable[..., Any], tmp_path: Path, tracking_uri: str, arguments: list[str], params: str, message: str
) -> None:
    result = kedro(*arguments, params=params)
    assert result.exit_code == 1
    assert message in result.output
    assert result.output.strip().count("\n") == 0
    assert not (tmp_path / "data").exists()
    assert runs_of(tracking_uri) == [[], []]


def test_a_class_too_small_stops_the_run_before_features(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path
) -> None:
    for path in sorted((image_folder / "red").iterdir())[2:]:
        path.unlink()
    result = kedro(params=f"images={image_folder}")
    assert result.exit_code == 1
    assert f"images={image_folder}" in result.output
    assert "'red' has 2" in result.output
    assert not (tmp_path / "features").exists()


def test_kill_9_in_extraction_loses_at_most_a_shard_and_leaves_the_store_telling_the_truth(
    kedro: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    images = fill(tmp_path / "many", 60)
    params = f"images={images},features.shard_size=8,features.batch_size=8"
    command = (
        f"{sys.executable} -m kedro run --params data={tmp_path}/data,store={tmp_path}/features,image_size=32,"
        f"split.folds=3,evaluation.resamples=100,{params} --pipelines ingestion,features"
    )
    victim = subprocess.Popen(command.split(), cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "features").glob("*/[!.]*.safetensors"))) < 3 and victim.poll() is None:
        time.sleep(0.005)
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait()
    kept = vectors(tmp_path)
    assert 24 <= len(kept) <= 180

    assert kedro("--pipelines", "ingestion,features", params=params).exit_code == 0
    parents, _ = runs_of(tracking_uri)
    assert [run.info.status for run in parents] == ["KILLED", "FINISHED"]
    resumed = vectors(tmp_path)
    assert len(resumed) == 180
    uninterrupted = f"{params},store={tmp_path}/uninterrupted"
    assert kedro("--pipelines", "ingestion,features", params=uninterrupted).exit_code == 0
    features = FeaturesDataset(filepath=str(tmp_path / "data/04_feature/features.safetensors")).load()
    whole = FolderFeatureStore(tmp_path / "uninterrupted").get(features.key, list(resumed))
    np.testing.assert_array_equal(np.stack(list(resumed.values())), whole)


def test_views_are_cached_trained_on_and_averaged_over_by_the_served_model_too(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kedro, given = kedro_after_a_run, f"images={tmp_path / 'images'},strategies=logistic"
    result = kedro(params=f"{given},views=2,augmentation.average=true")
    assert result.exit_code == 0, result.output
    assert "features of 30 images: all from the store" in caplog.text
    assert "features of 60 views: all computed by" in caplog.text
    assert "classes look like colours: augmentation.colour=0" in caplog.text
    views = pd.read_parquet(tmp_path / "data/03_primary/views.parquet")
    assert views.groupby("view").size().to_dict() == {1: 30, 2: 30, 3: 6, 4: 6, 5: 6}  # six are shown
    assert (tmp_path / "data/03_primary/view_sheet.png").stat().st_size > 10_000

    table = pd.read_parquet(tmp_path / "data/07_model_output/logistic/predictions.parquet")
    served = Predictor.of(read_classifier(tmp_path / "data/06_models/logistic"))
    answers = served.predict([Path(path).read_bytes() for path in table["path"]])
    assert answers["label"].tolist() == table["predicted"].tolist()
    np.testing.assert_allclose(answers["confidence"], table["confidence"], atol=0.02)

    result = kedro("--pipelines", "classifier", params=given)
    assert "The features were made with views=2, but views=0 is asked for" in result.output


def test_networks_learn_are_compared_on_shared_images_and_serve_what_they_learnt(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path, tracking_uri: str
) -> None:
    given = f"images={image_folder},finetune.epochs=2"
    result = kedro(params=f"{given},strategies=logistic+scratch+finetune")
    assert result.exit_code == 0, result.output
    data = tmp_path / "data"
    rows = leaderboard(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == {
        "logistic": "ok",
        "scratch": "ok",
        "finetune": "ok",
        "svm": "not run",
        "lda": "not run",
    }
    splits = pd.read_parquet(data / "03_primary/splits.parquet")
    in_fold_0 = set(splits.loc[splits["fold"] == 0, "image_id"])
    for strategy in ("scratch", "finetune"):
        assert set(pd.read_parquet(data / f"07_model_output/{strategy}/out_of_fold.parquet")["image_id"]) == in_fold_0
        assert rows[strategy]["shared_images"] == rows["logistic"]["shared_images"] == len(in_fold_0)
        predictions = pd.read_parquet(data / f"07_model_output/{strategy}/predictions.parquet")
        served = Predictor.of(read_classifier(data / f"06_models/{strategy}"))
        answers = served.predict([Path(path).read_bytes() for path in predictions["path"]])
        assert answers["label"].tolist() == predictions["predicted"].tolist()
        np.testing.assert_allclose(answers["confidence"], predictions["confidence"], atol=1e-4)
        assert (data / f"08_reporting/{strategy}/training_curve.png").stat().st_size > 5000
    assert rows["finetune"]["accuracy"] > 0.8  # plain colours are easy

    _, children = runs_of(tracking_uri)
    child = next(run for run in children if run.info.run_name == "finetune")
    points = MlflowClient(tracking_uri).get_metric_history(child.info.run_id, "fold_0.inner_accuracy")
    history = json.loads((data / "08_reporting/finetune/epochs.json").read_text())
    of_fold = [row for row in history if row["model"] == "finetune, fold 0"]
    assert [(point.step, point.value) for point in points] == [(row["epoch"], row["inner_accuracy"]) for row in of_fold]

    again = kedro("--pipelines", "finetune", params=f"{given},strategies=finetune")
    assert again.exit_code == 0, again.output
    assert json.loads((data / "08_reporting/finetune/epochs.json").read_text()) == history  # nothing trained again

    (model,) = MlflowClient(tracking_uri).search_logged_models([child.info.experiment_id], "name = 'finetune'")[:1]
    keys = []
    for backbone in (data / "06_models/finetune", f"models:/{model.model_id}"):
        params = f"images={image_folder},backbone={backbone},data={tmp_path / 'other'}"
        result = kedro("--pipelines", "ingestion,features", params=params)
        assert result.exit_code == 0, result.output
        keys.append(FeaturesDataset(filepath=str(tmp_path / "other/04_feature/features.safetensors")).load().key)
    original = FeaturesDataset(filepath=str(data / "04_feature/features.safetensors")).load().key
    assert {key.backbone for key in keys} == {original.backbone}
    assert keys[0].weights == keys[1].weights != original.weights


def test_strategies_are_compared_on_several_features_and_all_that_follows_knows_which(
    kedro: Callable[..., Any], image_folder: Path, tmp_path: Path, tracking_uri: str
) -> None:
    layers = "features.layers=last|blocks.1+last"
    given = f"images={image_folder},{layers},strategies=logistic+finetune,screening.images=50"
    result = kedro(params=given)
    assert result.exit_code == 0, result.output
    data = tmp_path / "data"
    screen = json.loads((data / "08_reporting/screen.json").read_text())
    first, second = screen["candidates"]
    assert {first["name"], second["name"]} == {"last", "blocks.1+last"}
    assert first["kept"] and second["kept"]  # plain colours: they cannot be told apart

    rows = json.loads((data / "08_reporting/leaderboard.json").read_text())
    scored = {(row["strategy"], row["features"]): row for row in rows if row["status"] == "ok"}
    assert {("logistic", each["name"]) for each in (first, second)} < set(scored)
    assert len(scored) == 3  # the network is trained once
    assert {row["shared_images"] for row in scored.values()} == {8}
    for (strategy, features), row in scored.items():
        slot = "" if features == first["name"] else second["slot"]
        assert row["slot"] == slot
        classifier = read_classifier(data / "06_models" / slot / strategy)
        assert "+".join(classifier.key.layers) == features == row["layers"]

    _, children = runs_of(tracking_uri)
    named = {run.info.run_name: run for run in children}
    assert set(named) == {f"{strategy} · {features}" for strategy, features in scored}
    for (strategy, features), row in scored.items():
        run = named[f"{strategy} · {features}"].data
        assert (run.tags["topwork.strategy"], run.params["features.layers"]) == (strategy, features)
        assert run.tags["topwork.backbone"] == run.params["backbone"] == "efficientnet_lite0"
        assert run.metrics["accuracy"] == row["accuracy"]

    champion = json.loads((data / "08_reporting/champion.json").read_text())
    crowned = read_classifier(data / "06_models" / champion["slot"] / champion["strategy"])
    assert "+".join(crowned.key.layers) == champion["features"]
    registered = mlflow.pyfunc.load_model("models:/images@champion")
    assert registered.metadata.model_uuid == champion["model_id"]
    predicted = kedro("--pipelines", "prediction", params=f"new_images={image_folder}")
    assert predicted.exit_code == 0, predicted.output
    answers = pd.read_csv(data / "07_model_output/new/predictions.csv")
    served = Predictor.of(crowned).predict([(image_folder / path).read_bytes() for path in answers["image_id"]])
    assert answers["label"].tolist() == served["label"].tolist()

    # a comparison without the screen shows the others' results as earlier ones
    part = kedro(
        *("--pipelines", "ingestion,features,classifier,evaluation,comparison"),
        params=f"images={image_folder},strategies=logistic",
    )
    assert part.exit_code == 0, part.output
    rows = json.loads((data / "08_reporting/leaderboard.json").read_text())
    assert {bool(row["earlier"]) for row in rows if row["slot"] == second["slot"]} == {True}
    refused = kedro("--namespaces", "logistic,comparison", params=given.replace("blocks.1", "blocks.2"))
    assert "These features were not compared" in refused.output


def test_a_run_with_minutes_leaves_out_what_has_no_time_and_ends_with_a_champion(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "data/08_reporting/svm/metrics.json").unlink()
    result = kedro_after_a_run(params=f"images={tmp_path / 'images'},minutes=0.001,strategies=logistic+lda+finetune")
    assert result.exit_code == 0, result.output
    rows = leaderboard(tmp_path)
    assert rows["logistic"]["status"] == "ok"
    assert {rows[name]["status"] for name in ("lda", "finetune")} == {"skipped"}
    assert all("no time is left for it" in rows[name]["reason"] for name in ("lda", "finetune"))
    assert json.loads((tmp_path / "data/08_reporting/champion.json").read_text())["strategy"] == "logistic"
    assert not (tmp_path / "data/granted_minutes.json").exists()
    refused = kedro_after_a_run(params=f"images={tmp_path / 'images'},minutes=-1")
    assert refused.exit_code == 1
    assert "minutes=-1: give the time of the whole run in minutes" in refused.output


def test_a_model_that_the_registry_does_not_have_is_refused_before_any_work(
    kedro: Callable[..., Any], image_folder: Path
) -> None:
    result = kedro(params=f"images={image_folder},backbone=models:/nothing@champion")
    assert result.exit_code == 1
    assert "backbone=models:/nothing@champion: cannot be had from MLflow" in result.output
    assert "Traceback" not in result.output


def test_what_is_made_of_other_strategies_is_scored_logged_and_served_like_every_strategy(
    kedro_after_a_run: Callable[..., Any], tmp_path: Path, tracking_uri: str
) -> None:
    given = f"images={tmp_path / 'images'},strategies=logistic+lda+ensemble+distilled"
    result = kedro_after_a_run(params=given)
    assert result.exit_code == 0, result.output
    data = tmp_path / "data"
    made = json.loads((data / "08_reporting/ensemble/metrics.json").read_text())["training"]
    assert made["candidates"] == 2  # without svm, which an earlier run has left
    members = json.loads((data / "06_models/ensemble/members.json").read_text())
    parts = [pd.read_parquet(data / f"07_model_output/{each['strategy']}/predictions.parquet") for each in members]
    expected = sum(
        each["weight"] * np.stack(part["probabilities"].to_list()) for each, part in zip(members, parts, strict=True)
    )
    predictions = pd.read_parquet(data / "07_model_output/ensemble/predictions.parquet")
    np.testing.assert_allclose(np.stack(predictions["probabilities"].to_list()), expected, atol=1e-6)
    serving = json.loads((data / "08_reporting/ensemble/serving.json").read_text())
    assert (serving["status"], serving["same_label"]) == ("ok", 1)
    row = leaderboard(tmp_path)["ensemble"]
    assert row["accuracy"] == (predictions["label"] == predictions["predicted"]).mean()
    assert json.loads((data / "08_reporting/champion.json").read_text())["strategy"] != "ensemble"  # nothing to gain
    _, children = runs_of(tracking_uri)
    (mine,) = [run for run in children if run.info.run_name == "ensemble"]
    assert mine.data.metrics["accuracy"] == row["accuracy"]

    distilled = json.loads((data / "08_reporting/distilled/metrics.json").read_text())
    assert distilled["training"]["taught_images"] == 24
    assert distilled["training"]["teacher"] in {"logistic", "lda", "ensemble"}
    told = leaderboard(tmp_path)["distilled"]
    assert (told["status"], told["oof_accuracy"], told["shared_score"]) == ("ok", None, None)
    assert told["reason"].startswith(f"against its teacher, {distilled['training']['teacher']}: ")
    assert distilled["accuracy"] > 0.8  # it begins with a probe, and plain colours are easy

    given = f"new_images={tmp_path / 'images'},model={data / '06_models/ensemble'}"
    predicted = kedro_after_a_run("--pipelines", "prediction", params=given)
    assert predicted.exit_code == 0, predicted.output
    answers = pd.read_parquet(data / "07_model_output/new/predictions.parquet").set_index("image_id")
    told = np.stack(answers.loc[predictions["image_id"], "probabilities"].to_list())
    np.testing.assert_allclose(told, expected, atol=1e-3)
    refused = kedro_after_a_run("--pipelines", "description,labelling", params=given)
    assert "monitoring, works on one network, and ensemble is made of several" in refused.output
