"""Topwork outside its own project: installed in an empty folder, and its pipelines in another Kedro project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.conftest import PROJECT, fill

FILES = {
    "pyproject.toml": """
[tool.kedro]
package_name = "mine"
project_name = "mine"
kedro_init_version = "1.7.0"
""",
    "src/mine/__init__.py": "",
    "conf/base/catalog.yml": """
summary:
  type: topwork.datasets.report.ReportDataset
  filepath: data/summary.json
""",
    "conf/base/parameters.yml": "mine: {enough: 20}\n",
    "conf/local/.gitkeep": "",
}
QUICK = (
    "image_size=32,duplicates.image_size=32,features.engine=eager,features.number_format=float32,"
    "split.folds=3,weights=none,evaluation.resamples=100"
)


def shown_files() -> dict[str, str]:
    """The settings and the registry of pipelines as the page shows them."""
    page = (PROJECT / "docs" / "how-to" / "kedro-project.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    (settings,) = [block for block in blocks if "topwork.settings" in block]
    (registry,) = [block for block in blocks if "register_pipelines" in block]
    return {"src/mine/settings.py": settings, "src/mine/pipeline_registry.py": registry}


@pytest.fixture
def folder(tmp_path: Path, empty_store: Path) -> Path:
    """An empty folder but for an MLflow database, outside every Kedro project."""
    folder = tmp_path / "away"
    folder.mkdir()
    shutil.copy(empty_store, folder)
    return folder


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What a command does there, with this installation."""
    variables = {**os.environ, "PYTHONPATH": str(PROJECT / "src"), "COLUMNS": "300"}
    program = [sys.executable, "-m", *command]
    return subprocess.run(program, cwd=folder, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_its_pipelines_run_in_another_kedro_project_beside_nodes_and_parameters_of_that_project(folder: Path) -> None:
    for name, text in {**FILES, **shown_files()}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    shutil.copytree(PROJECT / "conf" / "base", folder / "conf" / "base" / "topwork")
    result = run(folder, "kedro", "run", "--params", f"images={fill(folder / 'images', 8)},{QUICK}")
    assert result.returncode == 0, result.stdout + result.stderr
    told = json.loads((folder / "data" / "summary.json").read_text())
    assert told["images"] == 24
    assert 0 <= told["accuracy"] <= 1
    runs = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [each.experiment_id for each in runs.search_experiments() if each.name == "topwork"]
    assert {each.info.status for each in runs.search_runs([experiment])} == {"FINISHED"}


@pytest.mark.slow
def test_the_installed_command_runs_in_a_folder_with_the_unpacked_configuration(folder: Path) -> None:
    shutil.copytree(PROJECT / "conf", folder / "conf")
    images = fill(folder / "images", 4)
    result = run(folder, "topwork", "run", "--pipelines", "ingestion", "--params", f"images={images}")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (folder / "data" / "02_intermediate" / "manifest.parquet").is_file()


def test_every_file_of_the_package_that_is_no_code_is_in_the_wheel() -> None:
    package = PROJECT / "src" / "topwork"
    settings = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["topwork"]
    packed = {path for pattern in settings for path in package.glob(pattern)}
    files = {path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert {path for path in files if path.suffix != ".py"} == packed


def test_without_a_configuration_the_installed_command_says_where_one_comes_from(folder: Path) -> None:
    result = run(folder, "topwork", "run")
    assert result.returncode == 1
    assert "conf: no configuration of Topwork" in result.stderr
    assert "unpack conf-topwork.tar.gz here" in result.stderr
