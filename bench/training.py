"""Fine-tuning against fastai and a plain loop: accuracy in equal time, time to equal accuracy, seed by seed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bench.measure import Row, console
from topwork.core.arrays import Floats

RIVALS = {"fastai": "fastai fine_tune", "plain": "a plain loop, last third learning"}
OURS = ("logistic", "finetune")
EPOCHS = 4  # of the rivals; fastai adds one with the backbone frozen


@dataclass(frozen=True)
class Trace:
    """Seconds after each epoch, and which test images were right then ``[epochs, n]``."""

    seconds: Floats
    right: Floats

    def at(self, seconds: float) -> Floats:
        """The best epoch that had ended by then; nothing right if none had."""
        ended = self.right[self.seconds <= seconds]
        return ended[ended.mean(axis=1).argmax()] if len(ended) else np.zeros(self.right.shape[1])

    def seconds_to(self, accuracy: float) -> float:
        """When it was first reached; infinity if never."""
        state = self.seconds[self.right.mean(axis=1) >= accuracy]
        return float(state[0]) if len(state) else np.inf


def training(asked: argparse.Namespace, work: Path) -> Iterator[Row]:
    """On labelled photographs only: `--folder DIR` of class or split folders, as many seeds as rounds."""
    if asked.folder is None:
        console.print("training: needs labelled photographs, `--folder DIR`")
        return
    ours: list[Trace] = []
    theirs: dict[str, list[Trace]] = {name: [] for name in RIVALS}
    for seed in range(asked.rounds):
        data = work / f"training-{seed}"  # each with a store of its own: nothing is computed before
        ours.append(_ours(asked, data, work, seed))
        _tell(seed, "ours", ours[-1])
        table = _table(data)
        for name in RIVALS:
            theirs[name].append(_rival(asked, name, table, seed))
            _tell(seed, name, theirs[name][-1])
        shutil.rmtree(data)
    for name, against in RIVALS.items():
        yield from _rows(ours, theirs[name], against)


def _rows(ours: list[Trace], theirs: list[Trace], against: str) -> Iterator[Row]:
    pairs = list(zip(ours, theirs, strict=True))
    what = "finetune, accuracy"
    at_equal_time = [rival.at(own.seconds[-1]) for own, rival in pairs]
    yield _accuracies(what, ours, at_equal_time, f"{against}, in the same seconds")
    yield _accuracies(what, ours, [rival.right[-1] for rival in theirs], f"{against}, at its end")
    goals = [rival.right[-1].mean() for rival in theirs]
    seconds = [(own.seconds_to(goal), rival.seconds_to(goal)) for (own, rival), goal in zip(pairs, goals, strict=True)]
    ratios = [rival / own for own, rival in seconds]
    own_, rival_ = (statistics.median(each) for each in zip(*seconds, strict=True))
    what, spread = "probe or finetune, all included, to their final accuracy", (min(ratios), max(ratios))
    yield Row(what, own_, rival_, "s", statistics.median(ratios), against, goal=10.0, spread=spread)


def _accuracies(what: str, ours: list[Trace], theirs: list[Floats], against: str) -> Row:
    """Means over the seeds; says the paired difference with its interval, images drawn anew."""
    own, rival = np.mean([trace.right[-1] for trace in ours], axis=0), np.mean(theirs, axis=0)
    difference, generator = own - rival, np.random.default_rng(0)
    draws = difference[generator.integers(len(difference), size=(10_000, len(difference)))].mean(axis=1)
    low, high = np.quantile(draws, [0.025, 0.975])
    console.print(f"{what}, {against}: {100 * difference.mean():+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]")
    ratio = float(own.mean() / max(rival.mean(), 1e-9))
    return Row(what, float(own.mean()), float(rival.mean()), "", ratio, against, goal=1.0)


def _ours(asked: argparse.Namespace, data: Path, work: Path, seed: int) -> Trace:
    """`kedro run` as a user would, imports and all: when the probe's scores were written, and when the network's."""
    given = {"images": asked.folder.resolve(), "data": data, "store": data / "store"}
    given |= {"strategies": "+".join(OURS), "finetune.minutes": asked.minutes, "image_size": asked.size, "seed": seed}
    command = ["-m", "kedro", "run", "--params", ",".join(f"{name}={value}" for name, value in given.items())]
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{work}/training.db"}
    start = time.time()
    subprocess.run([sys.executable, *command], env=environment, check=True, capture_output=True)
    seconds = [(data / f"08_reporting/{name}/metrics.json").stat().st_mtime - start for name in OURS]
    answers = [pd.read_parquet(data / f"07_model_output/{name}/predictions.parquet") for name in OURS]
    answers = [each.sort_values("image_id") for each in answers]
    return Trace(
        np.array(seconds), np.array([(each["label"] == each["predicted"]).to_numpy(float) for each in answers])
    )


def _table(data: Path) -> Path:
    """The same images with the same split, in the order of their names."""
    splits = pd.read_parquet(data / "03_primary/splits.parquet").sort_values("image_id")
    path_of = pd.read_parquet(data / "02_intermediate/manifest.parquet").set_index("image_id")["path"]
    columns = {"path": splits["image_id"].map(path_of), "label": splits["label"], "held_out": splits["split"] == "test"}
    table = data / "training.csv"
    pd.DataFrame(columns).to_csv(table, index=False)
    return table


def _rival(asked: argparse.Namespace, name: str, table: Path, seed: int) -> Trace:
    from topwork.models.sources import EMBEDDED
    from topwork.models.weights import packaged_file

    lite0 = EMBEDDED["efficientnet_lite0"]
    weights = packaged_file(lite0.package, lite0.file)
    script = Path(__file__).parent / "rival_training.py"
    command = [asked.rivals, script, name, table, weights, asked.size, EPOCHS, seed]
    answer = subprocess.run([str(word) for word in command], check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [json.loads(line) for line in answer.splitlines() if line.startswith("{")]
    return Trace(np.array([line["seconds"] for line in lines]), np.array([line["right"] for line in lines], float))


def _tell(seed: int, name: str, trace: Trace) -> None:
    epochs = zip(trace.seconds, trace.right.mean(axis=1), strict=True)
    console.print(f"seed {seed}, {name}: " + ", ".join(f"{right:.3f} after {after:.0f} s" for after, right in epochs))
