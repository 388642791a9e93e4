"""How often monitoring raises a false alarm, and how often it sees a shift: `python -m bench.monitoring DATA`.

DATA is the data folder of a finished run with `strategies=logistic` on photographs. For each part, its labelled images
are divided at random into images to learn from, test images and new images, and a logistic head is fitted on the first
ones. Draws of new images are compared with the reference by `judge_drift`, as they are, or with a planted shift of all
of them or of a fifth: blur, brightness, another camera (JPEG of quality 60, a colour cast and noise), or a class that
was not learnt. The statement on the power is held against shifts of that size along random directions.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from topwork.core.arrays import Floats, Integers
from topwork.core.classifier import Classifier, the_only
from topwork.core.columns import TEST
from topwork.core.parameters import MonitoringParameters
from topwork.datasets.classifier_file import read_classifier
from topwork.datasets.feature_store import FeatureStoreDataset
from topwork.decisions.drift import Reference, Sample, detectable, judge_drift
from topwork.inference.description import describe_missing, served_key
from topwork.run.configuration import load_configuration
from topwork.scoring.metrics import wilson_interval
from topwork.scoring.rejection import fit_rejection
from topwork.scoring.two_sample import energy_distances, permutation_p, swaps, whitened
from topwork.training.linear import fit_head, multinomial_logistic, out_of_fold_scores

C, FOLDS, LEARNT, HELD_OUT, PLANTED, SHARE, QUICK = 0.01, 5, 1_500, 400, 800, 0.2, 64
SIZES = (100, 500)
ESTIMATOR = multinomial_logistic("none", 300)


@dataclass(frozen=True)
class Data:
    """Features ``[n, d]`` and class numbers of images, and features of some of them (``rows``) by planted shift."""

    vectors: Floats
    truth: Integers
    rows: Integers
    planted: Mapping[str, Floats]
    classifier: Classifier


def main() -> None:
    """Print a line for each kind of shift and number of images."""
    parser = argparse.ArgumentParser(prog="python -m bench.monitoring", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--store", default="data/04_feature/store")
    parser.add_argument("--parts", type=int, default=5, help="random divisions of the images")
    parser.add_argument(
        "--draws", type=int, default=20, help="draws of new images for each division; a fifth of them with a shift"
    )
    parser.add_argument("--reference", type=int, default=600, help="images of the reference that are compared")
    parser.add_argument("--first", type=int, default=0, help="number of the first division, to go on with others")
    parser.add_argument("--only", nargs="+", default=["power", "none", *CHANGES, "new class"])
    asked = parser.parse_args()
    block = load_configuration(Path("conf"), None, {})["parameters"]["monitoring"]
    own = {"at_most": asked.reference, "permutations": 199, "simulations": 20}
    parameters = MonitoringParameters(**{**block, **own})
    data = read(asked.data, asked.store, [kind for kind in asked.only if kind in CHANGES])
    parts, few = range(asked.first, asked.first + asked.parts), max(1, asked.draws // 5)
    for kind in asked.only:
        if kind == "power":
            found: Iterator[tuple[Any, bool]] = power(data, parameters, 100)
        elif kind == "none":
            found = false_alarms(data, parameters, parts)
        elif kind == "new class":
            found = new_class(data, parameters, parts, few)
        else:
            found = shifts(data, parameters, kind, parts, few)
        _report(kind, found)


def read(folder: Path, store: str, kinds: Sequence[str]) -> Data:
    """The labelled images of a run, without its test split, and the planted shifts of some."""
    classifier = the_only(read_classifier(folder / "06_models/logistic"), "monitoring")
    manifest = pd.read_parquet(folder / "02_intermediate/manifest.parquet")
    splits = pd.read_parquet(folder / "03_primary/splits.parquet")
    table = splits[splits["split"] != TEST].merge(manifest[["image_id", "path", "sha256"]], on="image_id")
    table = table.drop_duplicates("group", ignore_index=True)
    known, key = FeatureStoreDataset(path=store).load(), served_key(classifier)
    rows = np.random.default_rng(1).permutation(len(table))[:PLANTED]
    planted = {}
    for kind in kinds:
        images = {str(row): CHANGES[kind](_opened(table["path"].iloc[row]), int(row)) for row in rows}
        contents = {hashlib.sha256(content).hexdigest(): name for name, content in images.items()}
        for shard in describe_missing(images, contents, known, classifier):
            known.put(shard)
        planted[kind] = known.get(key, [hashlib.sha256(images[str(row)]).hexdigest() for row in rows])
    vectors = known.get(key, table["sha256"].tolist())
    return Data(vectors, np.unique(table["label"], return_inverse=True)[1], rows, planted, classifier)


def false_alarms(data: Data, parameters: MonitoringParameters, parts: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Pairs of a number of images and a verdict, of new images that are like those that were learnt.

    Verdicts with one reference are alike, so each draw divides the images anew. The head learns from principal axes of
    the features, in a twentieth of the time.
    """
    quick = replace(data, vectors=whitened(data.vectors, QUICK).astype(np.float32))
    for part in parts:
        size = SIZES[part % len(SIZES)]
        order = np.random.default_rng(part).permutation(len(data.truth))
        reference, classifier = fitted(quick, order[size:])
        yield size, _verdict(quick.vectors[order[:size]], reference, classifier, parameters, part)


def shifts(
    data: Data, parameters: MonitoringParameters, kind: str, parts: Sequence[int], draws: int
) -> Iterator[tuple[str, bool]]:
    """Pairs of a number of images with the share that is shifted, and a verdict."""
    rest = np.setdiff1d(np.arange(len(data.truth)), data.rows)
    for part in parts:
        generator = np.random.default_rng(100 + part)
        reference, classifier = fitted(data, generator.permutation(rest))
        for draw in range(draws):
            for size, share in ((size, share) for size in SIZES for share in (SHARE, 1.0)):
                places = generator.permutation(len(data.rows))[:size]
                shifted = places[: round(share * size)]
                vectors = data.vectors[data.rows[places]].copy()
                vectors[: len(shifted)] = data.planted[kind][shifted]
                yield f"{size}, {share:.0%} of them", _verdict(vectors, reference, classifier, parameters, draw)


def new_class(
    data: Data, parameters: MonitoringParameters, parts: Sequence[int], draws: int
) -> Iterator[tuple[int, bool]]:
    """Pairs of a number of images and a verdict, where a tenth of the images are of a class that was not learnt."""
    largest = np.argsort(-np.bincount(data.truth))
    for part in parts:
        generator = np.random.default_rng(200 + part)
        strange = np.flatnonzero(data.truth == largest[part % len(largest)])
        order = generator.permutation(np.setdiff1d(np.arange(len(data.truth)), strange))
        new, rest = order[: len(order) // 4 + 200], order[len(order) // 4 + 200 :]
        reference, classifier = fitted(data, rest)
        for draw in range(draws):
            for size in SIZES:
                mixed = [generator.permutation(strange)[: size // 10], generator.permutation(new)[: size - size // 10]]
                rows = np.concatenate(mixed)
                yield size, _verdict(data.vectors[rows], reference, classifier, parameters, draw)


def power(data: Data, parameters: MonitoringParameters, draws: int) -> Iterator[tuple[str, bool]]:
    """Whether shifts of the size that would be seen with a stated power are seen by the test of the features."""
    points, level = whitened(data.vectors, parameters.dimensions), parameters.significance / 3
    for size in SIZES:
        for draw in range(draws):
            generator = np.random.default_rng(draw)
            order = generator.permutation(len(points))
            new, old = points[order[:size]], points[order[size : size + parameters.at_most]]
            if draw == 0:
                shift = detectable(old, size, parameters.model_copy(update={"simulations": 200}))
            direction = generator.normal(size=points.shape[1])
            both = np.concatenate([new + shift * direction / np.linalg.norm(direction), old])
            is_new = np.arange(len(both)) < size
            members = swaps(np.arange(len(both)).astype(str), is_new, parameters.permutations, draw)
            yield f"{size}, shift {shift:.2f} sd", permutation_p(energy_distances(both, members)) <= level


def fitted(data: Data, rows: Integers) -> tuple[Reference, Classifier]:
    """A head on some images, of which the first ones are held out for the share of none of the classes."""
    held_out, learnt = rows[:HELD_OUT], rows[HELD_OUT : HELD_OUT + LEARNT]
    names, truth = np.unique(data.truth[learnt], return_inverse=True)
    vectors, folds = data.vectors[learnt], np.arange(len(learnt)) % FOLDS
    called = out_of_fold_scores(ESTIMATOR, C, vectors, truth, folds, len(names)).argmax(axis=1)
    classifier = replace(
        data.classifier,
        head=fit_head(ESTIMATOR(C), vectors[None], truth, len(names)),
        class_names=tuple(str(name) for name in names),
        rejection=fit_rejection(vectors, truth, folds, 0.05),
    )
    alone = np.arange(len(data.truth)).astype(str)
    reference = Reference(
        Sample(vectors, alone[learnt]),
        Sample(called, alone[learnt]),
        Sample(data.vectors[held_out], alone[held_out]),
    )
    return reference, classifier


def _verdict(
    vectors: Floats, reference: Reference, classifier: Classifier, parameters: MonitoringParameters, draw: int
) -> bool:
    groups = np.arange(len(vectors)).astype(str)
    own = parameters.model_copy(update={"seed": draw, "simulations": 20})
    return judge_drift(Sample(vectors, groups), reference, classifier, own).shifted


def _report(kind: str, verdicts: Iterator[tuple[Any, bool]]) -> None:
    found: dict[Any, list[bool]] = {}
    for size, shifted in verdicts:
        found.setdefault(size, []).append(shifted)
    for size, each in found.items():
        low, high = wilson_interval(sum(each), len(each))
        row = {"shift": kind, "images": size, "draws": len(each), "seen": sum(each) / len(each)}
        print(json.dumps({**row, "low": round(low, 3), "high": round(high, 3)}), flush=True)


def _opened(path: str) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB")


def _encoded(image: Image.Image, quality: int = 95) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _blurred(image: Image.Image, _seed: int) -> bytes:
    return _encoded(image.filter(ImageFilter.GaussianBlur(max(image.size) / 200)))


def _brighter(image: Image.Image, _seed: int) -> bytes:
    return _encoded(ImageEnhance.Brightness(image).enhance(1.3))


def _of_another_camera(image: Image.Image, seed: int) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 6, (image.height, image.width, 1))
    cast = np.asarray(image, float) * (1.06, 1.0, 0.92) + noise
    return _encoded(Image.fromarray(np.clip(cast, 0, 255).astype(np.uint8)), 60)


CHANGES: dict[str, Callable[[Image.Image, int], bytes]] = {
    "saved again": lambda image, _seed: _encoded(image),
    "blur": _blurred,
    "brightness": _brighter,
    "another camera": _of_another_camera,
}


if __name__ == "__main__":
    main()
