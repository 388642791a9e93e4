"""Images made on the spot, and a way to run the project on them in this process."""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn  # noqa: F401 - before MLflow, whose import hooks would load it by a deprecated way
from hypothesis import HealthCheck, settings
from PIL import Image, ImageFilter

# The usual run tries the same few cases each time; `--hypothesis-profile=long` many, and others each time.
settings.register_profile("few", max_examples=60, derandomize=True, database=None, deadline=None)
settings.register_profile(
    "long", max_examples=6000, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.load_profile("few")

os.environ["DO_NOT_TRACK"] = "1"
os.environ["MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK"] = "true"
PROJECT = Path(__file__).resolve().parents[1]
NETWORKS = ("scratch", "finetune", "distilled")
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 70), "red": (200, 50, 40)}


def image_bytes(seed: int, colour: tuple[int, int, int] = (128, 128, 128), size: tuple[int, int] = (40, 30)) -> bytes:
    """A noisy PNG of one colour, another one for each seed."""
    noise = np.random.default_rng(seed).normal(0, 25, (size[1], size[0], 3))
    return encode(Image.fromarray(np.clip(noise + colour, 0, 255).astype(np.uint8)))


def encode(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    if form == "HEIF":
        _learn_to_write_heic()
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


@cache
def _learn_to_write_heic() -> None:
    """Let pillow-heif write; it would read too, which is left to the project's own plugin."""
    from pillow_heif import register_heif_opener

    from topwork.images.heif import load_plugin

    register_heif_opener()
    load_plugin.cache_clear()
    load_plugin()


def scene(seed: int) -> Image.Image:
    """Smooth blobs, other ones for each seed."""
    noise = np.random.default_rng(seed).integers(0, 255, (12, 16, 3), np.uint8)
    return Image.fromarray(noise).resize((320, 240), Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(3))


def fill(folder: Path, per_class: int, first_seed: int = 0) -> Path:
    """Class folders of distinct images."""
    for number, (label, colour) in enumerate(COLOURS.items()):
        (folder / label).mkdir(parents=True, exist_ok=True)
        for index in range(per_class):
            seed = first_seed + 1000 * number + index
            (folder / label / f"{seed:05d}.png").write_bytes(image_bytes(seed, colour))
    return folder


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Three classes of ten images."""
    return fill(tmp_path / "images", 10)


@pytest.fixture(scope="session")
def project() -> Path:
    """The project, ready for sessions."""
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(PROJECT)
    return PROJECT


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its tables: making them takes seconds, copying them none."""
    import mlflow

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@contextmanager
def tracking_to(uri: str) -> Iterator[None]:
    """MLflow's store for a while. A run sets it for the whole process, and the next test would find it there."""
    import mlflow

    before = mlflow.get_tracking_uri() if mlflow.is_tracking_uri_set() else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)  # puts back what was there, whatever MLflow writes into it
        mlflow.set_tracking_uri(uri)
        yield
        mlflow.set_tracking_uri(before)  # type: ignore[arg-type]


@pytest.fixture
def tracking_uri(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A store of the test's own, which every run in it uses."""
    path = tmp_path / "mlflow.db"
    path.write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    with tracking_to(f"sqlite:///{path}"):
        yield f"sqlite:///{path}"


@pytest.fixture
def kedro(project: Path, tracking_uri: str, tmp_path: Path) -> Callable[..., Any]:
    """`kedro(*arguments)` is what `kedro` does with them, on a data folder and a store of the test's own."""
    return partial(run_kedro, tmp_path)


@pytest.fixture(scope="session")
def finished_run(project: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a whole run over 30 images, and a file that is none, leaves: `images`, `data`, `features`, `mlflow.db`."""
    folder = tmp_path_factory.mktemp("finished")
    fill(folder / "images", 10)
    (folder / "images" / "red" / "broken.png").write_bytes(b"broken")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with tracking_to(f"sqlite:///{folder / 'mlflow.db'}"):
        result = run_kedro(folder, params=f"images={folder / 'images'}")
    assert result.exit_code == 0, result.output
    (folder / "output.txt").write_text(result.output)
    return folder


@pytest.fixture
def kedro_after_a_run(finished_run: Path, kedro: Callable[..., Any], tmp_path: Path) -> Callable[..., Any]:
    """`kedro` on a copy of a finished run, whose images are those of `images` in the test's own folder."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    return kedro


def run_kedro(folder: Path, *arguments: str, params: str = "", command: str = "run") -> Any:
    """What `kedro` does in a folder, in this process."""
    from click.testing import CliRunner
    from kedro.framework.startup import bootstrap_project

    from topwork.run.cli import cli

    own = (
        f"data={folder / 'data'},store={folder / 'features'},image_size=32,duplicates.image_size=32,ingestion.threads=2"
    )
    own += ",features.engine=eager,features.number_format=float32,strategies=logistic+svm"
    own += "".join(f",{name}.epochs=1,{name}.batch_size=8,{name}.precision=float32" for name in NETWORKS)
    given = f"{own},evaluation.resamples=100,split.folds=3{params and ','}{params}"
    os.chdir(PROJECT)
    return CliRunner().invoke(cli, [command, *arguments, "--params", given], obj=bootstrap_project(PROJECT))
