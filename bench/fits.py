"""Compares the ways to fit images into the square, on the splits of a run: `python -m bench.fits IMAGES DATA STORE`.

IMAGES and DATA are those of a finished run with the default network. The test split is not used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from kedro.config import OmegaConfigLoader
from numpy.typing import NDArray

from topwork.core.arrays import Bools
from topwork.core.columns import OK, TEST
from topwork.core.fits import CROP, MULTICROP, TRIED, far_from_square
from topwork.core.parameters import AugmentationParameters, FeatureParameters, LinearParameters
from topwork.datasets.engine_store import FolderEngineStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.models.feature_key import resolved_key
from topwork.pipelines.features.nodes import extract_features, gather_features
from topwork.scoring.metrics import proportion_interval
from topwork.scoring.paired import compare
from topwork.training.heads import Examples, logistic


def main(images: str, data: str, store: str) -> None:
    """Print the accuracy out of fold of tuned logistic regression for each fit, and its difference to a crop."""
    manifest = pd.read_parquet(Path(data) / "02_intermediate" / "manifest.parquet")
    splits = pd.read_parquet(Path(data) / "03_primary" / "splits.parquet")
    learnt = splits[splits["split"] != TEST]
    sizes = manifest[manifest["status"] == OK].set_index("image_id").loc[learnt["image_id"]]
    groups = learnt["group"].to_numpy(dtype=str)
    print(f"{len(learnt)} images out of fold, {far_from_square(sizes):.0%} far from square")
    crop: Bools | None = None
    for fit in (*TRIED, MULTICROP):
        right = _right(fit, images, manifest, learnt, store)
        crop = right if fit == CROP else crop
        assert crop is not None
        _tell(fit, right, crop, groups)


def _right(fit: str, images: str, manifest: pd.DataFrame, learnt: pd.DataFrame, store: str) -> Bools:
    configuration = OmegaConfigLoader("conf", base_env="base", default_run_env="base", runtime_params={"fit": fit})
    blocks = configuration["parameters"]
    asked, views = FeatureParameters(**blocks["features"]), AugmentationParameters(**blocks["augmentation"])
    known, engines = FolderFeatureStore(Path(store)), FolderEngineStore(Path(store) / "engines")
    key = resolved_key(asked, engines)
    for shard in extract_features(ImageFolderDataset(path=images).load(), manifest, known, engines, key, asked, views):
        known.put(shard)
    examples = Examples.of(gather_features(known, manifest, key, asked, views), learnt, average=False)
    fitted = logistic.fit(examples, LinearParameters(**blocks["logistic"]))
    return np.asarray(fitted.out_of_fold.argmax(axis=1) == examples.truth)


def _tell(fit: str, right: Bools, crop: Bools, groups: NDArray[np.str_]) -> None:
    low, high = proportion_interval(right, groups)
    line = f"{fit}: {right.mean():.3f} [{low:.3f}, {high:.3f}]"
    if fit != CROP:
        found = compare(right, crop, groups, seed=0)
        low, high = 100 * found.low, 100 * found.high
        line += f", {100 * found.difference:+.1f} [{low:+.1f}, {high:+.1f}] points, p = {found.p:.2g}"
    print(line, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4])
