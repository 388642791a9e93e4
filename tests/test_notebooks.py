"""The notebooks run from top to bottom, on less."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.conftest import PROJECT

NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
QUICK = (
    "image_size=32,duplicates.image_size=32,features.engine=eager,features.number_format=float32,"
    "evaluation.resamples=100,split.folds=3"
)
LITTLE = "scratch.epochs=1,scratch.precision=float32,scratch.batch_size=8"
LESS = {
    "data=data/notebooks,": f"data=data/notebooks,digits.images_per_class=12,{QUICK},",
    "strategies=logistic+svm": "strategies=logistic",
    "wallpaper.images_per_group=100": f"wallpaper.images_per_group=5,wallpaper.size=32,{QUICK},{LITTLE}",
}
LARGEST = 200_000  # bytes


@pytest.mark.slow
@pytest.mark.parametrize("names", [("1_tour", "2_looking_inside"), ("3_wallpaper_groups",)], ids="-".join)
def test_the_notebooks_run_from_top_to_bottom(
    names: tuple[str, ...], tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # each project has a store of its own
    for name in ("conf", "src", "notebooks"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    for path in (tmp_path / "notebooks" / f"{name}.ipynb" for name in names):
        text = path.read_text()
        for usual, less in LESS.items():
            text = text.replace(usual, less)
        notebook = nbformat.reads(text, 4)
        NotebookClient(notebook, timeout=None, resources={"metadata": {"path": str(path.parent)}}).execute()
        outputs = json.dumps(notebook.cells)
        assert "Error" not in outputs
        assert "image/png" in outputs or "text/html" in outputs
    if "3_wallpaper_groups" in names:
        assert len(list((tmp_path / "data/01_raw/wallpaper").glob("*/*.png"))) == 5 * 17


def test_notebooks_are_kept_without_what_they_showed() -> None:
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        assert path.stat().st_size < LARGEST
        cells = json.loads(path.read_text())["cells"]
        assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
        assert not any(line.startswith(("def ", "class ")) for cell in cells for line in cell["source"])
