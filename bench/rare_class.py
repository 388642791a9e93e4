"""Recall of a rare class by each means against imbalance: `python -m bench.rare_class FOLDER --rare shirt`.

FOLDER has a subfolder of images for each class. Of the rare class, the training images are a twentieth (or a hundredth)
of those of each other class; the test images are as many of each class. Every means learns from the same images and is
scored on the same test images; the draws of the images differ. The differences from doing nothing are paired.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from rich.table import Table

from bench.measure import console

_MEANS: dict[str, dict[str, str]] = {
    "none": {},
    "class_weight=balanced": {"class_weight": "balanced"},
    "class_weight=effective": {"class_weight": "effective"},
    "loss=focal": {"loss": "focal"},
    "loss=logit_adjusted": {"loss": "logit_adjusted"},
    "sampling=balanced": {"sampling": "balanced"},
}
_OF_NETWORKS = ("loss", "sampling")
_USUAL = (
    "image_size=96,finetune.epochs=2,finetune.minutes=30,duplicates.merge=false,split.folds=3,evaluation.resamples=200"
)


def main() -> None:
    """Print a row for each imbalance, strategy and means."""
    parser = argparse.ArgumentParser(prog="python -m bench.rare_class", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rare", required=True, help="class whose images become few")
    parser.add_argument("--others", nargs="+", required=True, help="the other classes")
    parser.add_argument("--work", type=Path, required=True, help="folder for images, features and results")
    parser.add_argument("--ratios", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--learnt", type=int, default=400, help="training images of each other class")
    parser.add_argument("--tested", type=int, default=100, help="test images of each class")
    parser.add_argument("--draws", type=int, default=3)
    asked = parser.parse_args()
    rows = [row for ratio in asked.ratios for draw in range(asked.draws) for row in _runs(asked, ratio, draw)]
    _show(pd.DataFrame(rows))


def _runs(asked: argparse.Namespace, ratio: int, draw: int) -> Iterator[dict[str, object]]:
    images = _images(asked, ratio, draw)
    for means, given in _MEANS.items():
        networks_alone = bool(set(given) & set(_OF_NETWORKS))
        strategies = ["finetune"] if networks_alone else ["logistic", "finetune"]
        data = asked.work / "data" / f"{ratio}-{draw}-{means.replace('=', '-')}"
        parameters = [f"images={images}", f"data={data}", f"store={asked.work / 'store'}", _USUAL]
        parameters += [f"strategies={'+'.join(strategies)}"]
        parameters += [f"{name}.{key}={value}" for name in strategies for key, value in given.items()]
        _run(asked.work, ",".join(parameters))
        for name in strategies:
            yield {"ratio": ratio, "strategy": name, "means": means, "draw": draw, **_scores(data, name, asked.rare)}


def _images(asked: argparse.Namespace, ratio: int, draw: int) -> Path:
    """A pre-split folder with the images of this draw, made small enough to be read quickly."""
    folder: Path = asked.work / "images" / f"{ratio}-{draw}"
    generator = np.random.default_rng([ratio, draw])
    for label in (asked.rare, *asked.others):
        files = generator.permutation(sorted(path for path in asked.folder.glob(f"{label}/*") if path.is_file()))
        learnt = max(1, asked.learnt // ratio) if label == asked.rare else asked.learnt
        parts = {"test": files[: asked.tested], "train": files[asked.tested : asked.tested + learnt]}
        for part, members in parts.items():
            (folder / part / label).mkdir(parents=True, exist_ok=True)
            for path in members:
                target = folder / part / label / f"{path.stem}.png"
                if not target.exists():
                    _write_small(path, target)
    return folder


def _write_small(path: Path, target: Path) -> None:
    with Image.open(path) as image:
        image.thumbnail((200, 200))
        image.convert("RGB").save(target)


def _run(work: Path, parameters: str) -> None:
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{work / 'mlflow.db'}"}
    command = [sys.executable, "-m", "topwork", "run", "--params", parameters]
    found = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    if found.returncode:
        raise RuntimeError(found.stdout[-2000:] + found.stderr[-2000:])


def _scores(data: Path, strategy: str, rare: str) -> dict[str, float]:
    predictions = pd.read_parquet(data / f"07_model_output/{strategy}/predictions.parquet")
    metrics = json.loads((data / f"08_reporting/{strategy}/metrics.json").read_text())
    of_rare = predictions[predictions["label"] == rare]
    called = predictions[predictions["predicted"] == rare]
    return {
        "recall": float((of_rare["predicted"] == rare).mean()),
        "precision": float((called["label"] == rare).mean()) if len(called) else float("nan"),
        "balanced_accuracy": metrics["balanced_accuracy"],
        "auc": metrics.get("auc", float("nan")),
    }


def _show(rows: pd.DataFrame) -> None:
    table = Table(title="The rare class, on a test split with as many images of each class; mean of the draws")
    for column in (
        "imbalance",
        "strategy",
        "means",
        "recall",
        "gain by draw, points",
        "precision",
        "balanced accuracy",
    ):
        table.add_column(column)
    for (ratio, strategy, means), mine in rows.groupby(["ratio", "strategy", "means"], sort=False):
        usual = rows.query("ratio == @ratio and strategy == @strategy and means == 'none'").set_index("draw")["recall"]
        gains = (100 * (mine.set_index("draw")["recall"] - usual)).round(1).tolist()
        told = [f"1:{ratio}", str(strategy), str(means), f"{mine['recall'].mean():.3f}", ", ".join(map(str, gains))]
        table.add_row(*told, f"{mine['precision'].mean():.3f}", f"{mine['balanced_accuracy'].mean():.3f}")
    console.print(table)


if __name__ == "__main__":
    main()
