"""What the screen of several features costs, and what it loses against trying everything.

`python -m bench.screen DATA…` takes data folders of runs that went at least as far as `splitting`. For each of them all
candidates are tried in full: features of all images, and logistic regression tuned by nested cross-validation. The
regret of a screen is the out-of-fold accuracy of the best candidate minus that of the one it chose. Beside the screen's
probe stand two scores from the literature, on the same images: five nearest neighbours, and LogME (You et al. 2021).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats, Integers
from topwork.core.columns import OK, TEST
from topwork.core.features import FeatureKey
from topwork.core.parameters import FeatureParameters, LinearParameters, ScreeningParameters
from topwork.core.results import Candidate
from topwork.datasets.engine_store import EngineStoreDataset
from topwork.datasets.feature_store import FeatureStoreDataset
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.datasets.table import TableDataset
from topwork.decisions.screen import rank, sample_rows
from topwork.models.candidates import list_candidates
from topwork.models.extraction import Extraction, extract_for_keys
from topwork.models.feature_key import engine_for, resolved_key
from topwork.pipelines.screening.nodes import of_candidate
from topwork.run.configuration import load_configuration
from topwork.scoring.neighbours import knn_accuracy
from topwork.training.heads import Examples, logistic


@dataclass(frozen=True)
class DataSet:
    """The images to learn from, the candidates, their features, and what trying everything takes and gives.

    ``vectors`` and ``accuracy`` (out of fold, of the tuned classifier) are by candidate; ``extracting`` and ``fitting``
    are the seconds for all candidates.
    """

    truth: Integers
    folds: Integers
    groups: NDArray[np.str_]
    candidates: list[Candidate]
    vectors: list[Floats]
    accuracy: list[float]
    extracting: float
    fitting: float


def main() -> None:
    """Print the accuracy of all candidates, and what the screen costs and loses, a line each for every data set."""
    parser = argparse.ArgumentParser(prog="python -m bench.screen", description=__doc__)
    parser.add_argument("data", nargs="+", help="DATA=IMAGES, the data folder of a run and its images")
    parser.add_argument("--backbone", default="efficientnet_lite0+efficientnet_lite1+efficientnet_lite2")
    parser.add_argument("--seeds", type=int, default=5, help="samples of images to screen on")
    asked = parser.parse_args()
    for pair in asked.data:
        data, _, images = pair.partition("=")
        for row in measure(Path(data), images, asked.backbone, asked.seeds):
            print(json.dumps(row), flush=True)


def measure(data: Path, images: str, backbone: str, seeds: int) -> Iterator[dict[str, Any]]:
    """One row with the accuracy of all candidates, and one with cost and regret of the screen."""
    parameters = load_configuration(Path("conf"), None, {"backbone": backbone, "image_size": "auto"})["parameters"]
    linear, screening = LinearParameters(**parameters["logistic"]), ScreeningParameters(**parameters["screening"])
    found = _try_everything(data, images, FeatureParameters(**{**parameters["features"], "layers": "auto"}), linear)
    names = [each.name for each in found.candidates]
    everything, best = found.extracting + found.fitting, max(found.accuracy)
    yield {
        "data": data.name,
        "images": len(found.truth),
        "seconds": everything,
        **dict(zip(names, found.accuracy, strict=True)),
    }
    rows = [_screened(found, linear, screening.model_copy(update={"seed": seed})) for seed in range(seeds)]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    yield {"data": data.name, "default_behind_best": 100 * (best - found.accuracy[0]), **mean}


def _try_everything(data: Path, images: str, how: FeatureParameters, linear: LinearParameters) -> DataSet:
    manifest = TableDataset(filepath=str(data / "02_intermediate/manifest.parquet")).load()
    splits = TableDataset(filepath=str(data / "03_primary/splits.parquet")).load()
    usable = manifest[manifest["status"] == OK]
    learnt = splits[splits["split"] != TEST]
    learnt = learnt.assign(sha256=learnt["image_id"].map(usable.set_index("image_id")["sha256"]))
    truth, folds = np.unique(learnt["label"], return_inverse=True)[1], learnt["fold"].to_numpy()
    candidates = list(list_candidates(how, float(usable[["width", "height"]].min(axis=1).median())))
    engines = EngineStoreDataset(path="data/04_feature/store/engines").load()
    keys = [resolved_key(of_candidate(how, each), engines) for each in candidates]
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStoreDataset(path=folder).load()
        loaded = ImageFolderDataset(path=images).load()
        extracting = _extract_all(loaded, learnt, store, engines, candidates, keys, how)
        vectors = [store.get(key, learnt["sha256"].tolist()) for key in keys]
    accuracy, start = [], time.perf_counter()
    for each in vectors:
        examples = Examples(each[None], truth, folds, int(truth.max()) + 1, average=False)
        accuracy.append(float((logistic.fit(examples, linear).out_of_fold.argmax(axis=1) == truth).mean()))
    fitting = time.perf_counter() - start
    groups = learnt["group"].to_numpy(dtype=str)
    return DataSet(truth, folds, groups, candidates, vectors, accuracy, extracting, fitting)


def _screened(found: DataSet, linear: LinearParameters, screening: ScreeningParameters) -> dict[str, float]:
    """Cost of one screen as a share of trying everything, and the regret of each way to choose, in points."""
    rows = sample_rows(found.truth, screening.images, screening.seed)
    truth, some, start = found.truth[rows], [each[rows] for each in found.vectors], time.perf_counter()
    screen = rank(found.candidates, some, truth, found.folds[rows], found.groups[rows], linear, screening)
    probing = time.perf_counter() - start
    slots = [each.slot for each in found.candidates]
    kept = [slots.index(each.slot) for each in (screen.chosen, *screen.others)]
    chosen = {
        "probe": kept[0],
        "kept": max(kept, key=lambda place: found.accuracy[place]),
        "neighbours": int(np.argmax([knn_accuracy(each, truth) for each in some])),
        "logme": int(np.argmax([logme(each, truth) for each in some])),
    }
    regret = {f"regret_{name}": 100 * (max(found.accuracy) - found.accuracy[at]) for name, at in chosen.items()}
    share = len(rows) / len(found.truth)
    cost = (probing + found.extracting * share) / (found.extracting + found.fitting)
    return {"sample": len(rows), "cost": cost, "candidates_kept": len(kept), **regret}


def _extract_all(
    images: Mapping[str, bytes],
    learnt: Any,
    store: Any,
    engines: Any,
    candidates: list[Candidate],
    keys: list[FeatureKey],
    how: FeatureParameters,
) -> float:
    """Seconds that the features of all candidates take; models are built before."""
    contents = dict(zip(learnt["sha256"], learnt["image_id"], strict=True))
    builders = [
        (key, cache(partial(engine_for, key, of_candidate(how, each), engines)))
        for key, each in zip(keys, candidates, strict=True)
    ]
    for _, build in builders:
        build()
    start = time.perf_counter()
    for shard in extract_for_keys(images, contents, store, builders, Extraction(512, None, how.max_pixels)):
        store.put(shard)
    return time.perf_counter() - start


def logme(vectors: np.ndarray, truth: np.ndarray) -> float:
    """Logarithm of maximum evidence of one-hot labels given the features, a mean over classes (You et al. 2021)."""
    features = vectors.astype(np.float64)
    left, singular, _ = np.linalg.svd(features, full_matrices=False)
    squares, (count, width), total = singular**2, features.shape, 0.0
    for number in np.unique(truth):
        label = (truth == number).astype(float)
        along = (left.T @ label) ** 2
        rest = float(label @ label - along.sum())
        alpha = beta = 1.0
        for _ in range(20):
            gamma = float((beta * squares / (alpha + beta * squares)).sum())
            weights = float((beta**2 * squares * along / (alpha + beta * squares) ** 2).sum())
            error = float((along * (alpha / (alpha + beta * squares)) ** 2).sum()) + max(rest, 0.0)
            alpha, beta = gamma / max(weights, 1e-12), max(count - gamma, 1e-6) / max(error, 1e-12)
        evidence = width / 2 * np.log(alpha) + count / 2 * np.log(beta) - beta / 2 * error - alpha / 2 * weights
        evidence -= 0.5 * (np.log(alpha + beta * squares).sum() + (width - len(squares)) * np.log(alpha))
        total += (evidence - count / 2 * np.log(2 * np.pi)) / count
    return total / len(np.unique(truth))


if __name__ == "__main__":
    main()
