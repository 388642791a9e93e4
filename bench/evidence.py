"""Whether forecasts, doubts about labels and near-duplicates hold what they promise: `python -m bench.evidence DATA`.

DATA is the data folder of a finished run. From its cached features: the learning curve of a quarter of the images is
continued to two and four times as many, and held against what these give; a twentieth of the labels is flipped, and
the suggestions are held against them. With `--images DIR` of photographs, copies are planted in a copy of it and looked
for.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from PIL import Image

from bench.measure import console
from topwork.core.arrays import Floats, Integers
from topwork.core.columns import TEST
from topwork.datasets.features import FeaturesDataset
from topwork.decisions.advisor import gather_evidence
from topwork.decisions.label_errors import LEDGER_COLUMNS, suggest_labels
from topwork.scoring.learning_curve import forecast
from topwork.scoring.metrics import softmax, wilson_interval
from topwork.training.linear import multinomial_logistic, out_of_fold_scores

C, DRAWS, FLIPPED, PLANTED = 0.01, 5, 0.05, 100
PROBES = {weights: multinomial_logistic(weights, 300) for weights in ("none", "balanced")}
ESTIMATOR = PROBES["none"]


def main() -> None:
    """Print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m bench.evidence", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--images", type=Path, help="class or split folders of photographs to plant copies in")
    asked = parser.parse_args()
    splits = pd.read_parquet(asked.data / "03_primary/splits.parquet")
    learnt = splits[splits["split"] != TEST].reset_index(drop=True)
    features = FeaturesDataset(filepath=str(asked.data / "04_feature/features.safetensors")).load()
    vectors = features.vectors[features.positions(learnt["image_id"].tolist())]
    names, truth = np.unique(learnt["label"], return_inverse=True)
    folds = learnt["fold"].to_numpy()
    _forecasts(vectors, truth, folds)
    _flipped(vectors, truth, folds, names.tolist(), learnt["image_id"].tolist())
    if asked.images:
        _planted(asked.images)


def _forecasts(vectors: Floats, truth: Integers, folds: Integers) -> None:
    """From a quarter of the images to half and all of them."""
    classes = int(truth.max()) + 1
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(truth))
        parts = [order[: len(order) // share] for share in (4, 2, 1)]
        quarter = parts[0]
        found = gather_evidence(
            vectors[quarter],
            truth[quarter],
            folds[quarter],
            quarter.astype(str),
            np.full(len(quarter), 200),
            PROBES,
            C,
            seed,
        )
        points = found.learning_curve
        predicted = forecast(points, [factor * points[-1].images for factor in (2, 4)], seed)
        for part, each in zip(parts[1:], predicted, strict=True):
            scores = out_of_fold_scores(ESTIMATOR, C, vectors[part], truth[part], folds[part], classes)
            right = int((scores.argmax(axis=1) == truth[part]).sum())
            low, high = wilson_interval(right, len(part))
            inside = each.low <= right / len(part) <= each.high
            console.print(
                f"forecast, draw {seed}: {len(part)} images, {each.accuracy:.3f} [{each.low:.3f}, {each.high:.3f}]; "
                f"came {right / len(part):.3f} [{low:.3f}, {high:.3f}]{'' if inside else ', outside'}"
            )


def _flipped(vectors: Floats, truth: Integers, folds: Integers, names: list[str], ids: list[str]) -> None:
    """A twentieth of the labels made wrong at random, and how many of them the suggestions find."""
    ledger = pd.DataFrame(columns=pd.Index(LEDGER_COLUMNS))
    for seed in range(DRAWS):
        generator = np.random.default_rng(seed)
        wrong = generator.permutation(len(truth))[: round(FLIPPED * len(truth))]
        given = truth.copy()
        given[wrong] = (truth[wrong] + generator.integers(1, len(names), len(wrong))) % len(names)
        probabilities = softmax(out_of_fold_scores(ESTIMATOR, C, vectors, given, folds, len(names)), 1.0)
        table = pd.DataFrame(
            {
                "image_id": ids,
                "path": ids,
                "label": np.array(names)[given],
                "predicted": np.array(names)[probabilities.argmax(axis=1)],
                "probabilities": list(probabilities),
            }
        )
        table.attrs = {"class_names": names}
        suggested = suggest_labels(table, ledger)
        flipped = {ids[place] for place in wrong}
        found = suggested["image_id"].isin(flipped)
        mended = dict(zip(ids, np.array(names)[truth], strict=True))
        right = (suggested["label"] == suggested["image_id"].map(mended))[found].mean()
        console.print(
            f"labels, draw {seed}: {len(flipped)} flipped, {len(suggested)} suggested, precision {found.mean():.2f}, "
            f"recall {found.sum() / len(flipped):.2f}, with the right label {right:.2f}"
        )


def _planted(images: Path) -> None:
    """Copies encoded again, resized, slightly cropped, under other names; half of them in another split's folder."""
    with TemporaryDirectory(prefix="topwork-planted-") as work:
        folder = Path(work) / "images"
        shutil.copytree(images, folder)
        chooser = random.Random(0)
        originals = chooser.sample(sorted(folder.rglob("*.jpg")), PLANTED)
        kinds = ["encoded again", "resized", "cropped"]
        copies = {}
        for number, path in enumerate(originals):
            copy = _place(path, folder, elsewhere=number % 2 == 0) / f"planted-{number}.jpg"
            with Image.open(path) as picture:
                _changed(picture.convert("RGB"), kinds[number % 3]).save(copy, quality=60 if number % 3 == 0 else 90)
            copies[str(copy.relative_to(folder))] = (str(path.relative_to(folder)), kinds[number % 3])
        given = f"images={folder},data={work}/data,store={work}/store"
        command = ["-m", "kedro", "run", "--pipelines", "ingestion,features,splitting", "--params", given]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        manifest = pd.read_parquet(Path(work) / "data/02_intermediate/manifest.parquet").set_index("path")["image_id"]
        pairs = pd.read_parquet(Path(work) / "data/03_primary/near_duplicates.parquet")
        found = {frozenset(pair) for pair in zip(pairs["image_id"], pairs["other"], strict=True)}
        for kind in kinds:
            asked = [(one, other) for one, (other, of) in copies.items() if of == kind]
            ids = [{manifest[str(folder / name)] for name in pair} for pair in asked]
            console.print(f"near-duplicates, {kind}: {sum(pair in found for pair in ids)} of {len(ids)} found")
        console.print(f"pairs in all: {len(pairs)}, beside the {PLANTED} planted")
        console.print((Path(work) / "data/08_reporting/leaks.json").read_text())


def _place(path: Path, folder: Path, elsewhere: bool) -> Path:
    """The folder of the image; or that of its class in another split, if the splits are folders."""
    split, *rest = path.parent.relative_to(folder).parts
    others = [each for each in sorted(folder.iterdir()) if each.name != split and each.joinpath(*rest).is_dir()]
    return others[0].joinpath(*rest) if elsewhere and rest and others else path.parent


def _changed(picture: Image.Image, kind: str) -> Image.Image:
    width, height = picture.size
    if kind == "resized":
        return picture.resize((round(0.7 * width), round(0.7 * height)))
    if kind == "cropped":
        return picture.crop((round(0.03 * width), round(0.03 * height), round(0.97 * width), round(0.97 * height)))
    return picture


if __name__ == "__main__":
    main()
