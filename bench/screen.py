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
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

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

DESCRIPTOR = "python:topwork.periodic.descriptor:describe"


def main() -> None:
    """Print a line for each data set and size of the sample."""
    parser = argparse.ArgumentParser(prog="python -m bench.screen", description=__doc__)
    parser.add_argument("data", nargs="+", help="DATA=IMAGES, the data folder of a run and its images")
    parser.add_argument("--backbone", default="efficientnet_lite0+efficientnet_lite1+efficientnet_lite2")
    parser.add_argument("--images", default="500,1000,2000", help="sizes of the sample, joined by commas")
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    for pair in asked.data:
        data, _, images = pair.partition("=")
        for row in measure(Path(data), images, asked.backbone, [int(n) for n in asked.images.split(",")], asked.seeds):
            print(json.dumps(row), flush=True)


def measure(data: Path, images: str, backbone: str, sizes: list[int], seeds: int) -> Iterator[dict[str, Any]]:
    """One row for each size of the sample, and one with the accuracy of all candidates."""
    parameters = load_configuration(Path("conf"), None, {"backbone": backbone, "image_size": "auto"})["parameters"]
    how = FeatureParameters(**{**parameters["features"], "layers": "auto"})
    linear, screening = LinearParameters(**parameters["logistic"]), ScreeningParameters(**parameters["screening"])
    manifest = TableDataset(filepath=str(data / "02_intermediate/manifest.parquet")).load()
    splits = TableDataset(filepath=str(data / "03_primary/splits.parquet")).load()
    usable = manifest[manifest["status"] == OK]
    learnt = splits[splits["split"] != TEST].assign(
        sha256=lambda table: table["image_id"].map(usable.set_index("image_id")["sha256"])
    )
    truth, folds = np.unique(learnt["label"], return_inverse=True)[1], learnt["fold"].to_numpy()
    groups, digests = learnt["group"].to_numpy(dtype=str), learnt["sha256"].tolist()
    candidates = list(list_candidates(how, float(usable[["width", "height"]].min(axis=1).median())))
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStoreDataset(path=folder).load()
        engines = EngineStoreDataset(path="data/04_feature/store/engines").load()
        keys = [resolved_key(of_candidate(how, each), engines) for each in candidates]
        extracted = _extract_all(ImageFolderDataset(path=images).load(), learnt, store, engines, candidates, keys, how)
        vectors = [store.get(key, digests) for key in keys]
    accuracy, fitting = [], 0.0
    for each in vectors:
        start = time.perf_counter()
        fitted = logistic.fit(Examples(each[None], truth, folds, int(truth.max()) + 1, average=False), linear)
        fitting += time.perf_counter() - start
        accuracy.append(float((fitted.out_of_fold.argmax(axis=1) == truth).mean()))
    names = [each.name for each in candidates]
    everything = extracted + fitting
    yield {"data": data.name, "images": len(truth), "seconds": everything, **dict(zip(names, accuracy, strict=True))}
    for size in sizes:
        regret: dict[str, list[float]] = {"probe": [], "kept": [], "neighbours": [], "logme": []}
        kept, cost = [], []
        for seed in range(seeds):
            rows = sample_rows(truth, size, seed)
            start = time.perf_counter()
            some = [each[rows] for each in vectors]
            screen = rank(
                candidates,
                some,
                truth[rows],
                folds[rows],
                groups[rows],
                linear,
                screening.model_copy(update={"images": size, "seed": seed, "keep": 3}),
            )
            probing = time.perf_counter() - start
            chosen = {
                "probe": names.index(screen.chosen.name),
                "neighbours": int(np.argmax([knn_accuracy(each, truth[rows]) for each in some])),
                "logme": int(np.argmax([logme(each, truth[rows]) for each in some])),
            }
            for name, place in chosen.items():
                regret[name].append(max(accuracy) - accuracy[place])
            left = [names.index(each.name) for each in (screen.chosen, *screen.others)]
            regret["kept"].append(max(accuracy) - max(accuracy[place] for place in left))
            kept.append(len(left))
            cost.append((probing + extracted * len(rows) / len(truth)) / everything)
        yield {
            "data": data.name,
            "sample": min(size, len(truth)),
            "cost": float(np.mean(cost)),
            "kept": float(np.mean(kept)),
            **{f"regret_{name}": 100 * float(np.mean(each)) for name, each in regret.items()},
        }


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
        (key, cache(lambda key=key, each=each: engine_for(key, of_candidate(how, each), engines)))
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
