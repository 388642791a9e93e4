"""Topwork's side: the library called as its pipelines call it, without Kedro."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
from kedro.config import OmegaConfigLoader

from topwork.core.columns import STAMP_COLUMNS
from topwork.core.features import FeatureKey
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import ImageStore
from topwork.data.manifest import Limits, _stamped, build_manifest, inspect_new
from topwork.datasets.engine_store import FolderEngineStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.images.views import PRESETS
from topwork.models.engines import Engine
from topwork.models.extraction import Extraction, extract_missing
from topwork.models.feature_key import engine_for, resolved_key
from topwork.pipelines.features.nodes import extract_features, gather_features

_LIMITS = Limits(max_pixels=89_478_485, max_bytes=2**28)


Settings = tuple[FeatureParameters, AugmentationParameters]


def feature_settings(backbone: str, weights: str) -> Settings:
    """The project's own parameters for one backbone."""
    given = {"backbone": backbone, "weights": weights}
    blocks = OmegaConfigLoader("conf", base_env="base", default_run_env="base", runtime_params=given)["parameters"]
    return FeatureParameters(**blocks["features"]), AugmentationParameters(**blocks["augmentation"])


def run_feature_nodes(
    images: ImageStore, manifest: pd.DataFrame, settings: Settings, work: Path, store: Path, gather: bool = True
) -> float:
    """Seconds of all feature nodes, or of those up to the extraction."""
    kept, engines = FolderFeatureStore(store), FolderEngineStore(work / "engines")
    start = time.perf_counter()
    key = resolved_key(settings[0], engines)
    for shard in extract_features(images, manifest, kept, engines, key, *settings):
        kept.put(shard)
    if gather:
        gather_features(kept, manifest, key, *settings)
    return time.perf_counter() - start


class Ours:
    """One backbone, its engine chosen and built."""

    def __init__(self, backbone: str, weights: str, work: Path) -> None:
        self.parameters, _ = feature_settings(backbone, weights)
        self.engines = FolderEngineStore(work / "engines")
        self.key: FeatureKey = resolved_key(self.parameters, self.engines)
        self.engine: Engine = engine_for(self.key, self.parameters, self.engines)

    @property
    def engine_name(self) -> str:
        """Engine and number format."""
        return f"{self.key.engine} {self.key.number_format}"

    def folder_to_features(self, folder: Path) -> float:
        """Images a second from a folder never seen to features in a new store, every file looked at."""
        start = time.perf_counter()
        images = ImageFolderDataset(path=str(folder)).load()
        manifest = inspected(images)
        with TemporaryDirectory() as store:
            self._extract(images, manifest, FolderFeatureStore(Path(store)))
        return len(manifest) / (time.perf_counter() - start)

    def manifest_to_features(self, images: ImageStore, manifest: pd.DataFrame) -> float:
        """Images a second of the feature node alone."""
        start = time.perf_counter()
        with TemporaryDirectory() as store:
            self._extract(images, manifest, FolderFeatureStore(Path(store)))
        return len(manifest) / (time.perf_counter() - start)

    def engine_alone(self, count: int) -> float:
        """Images a second of the engine on pixels in memory."""
        side, size = self.key.preprocessing["crop"], self.engine.batch_size
        pixels = np.random.default_rng(0).integers(0, 256, (size, side, side, 3), np.uint8)
        batches = [pixels] * (-(-count // size))
        start = time.perf_counter()
        with ThreadPoolExecutor(self.engine.streams) as pool:
            done = sum(len(features) for features in pool.map(self.engine, batches))
        return done / (time.perf_counter() - start)

    def _extract(self, images: ImageStore, manifest: pd.DataFrame, store: FolderFeatureStore) -> None:
        contents = dict(zip(manifest["sha256"], manifest["image_id"], strict=True))
        how = Extraction(self.parameters.shard_size, self.parameters.threads, self.parameters.max_pixels)
        none = PRESETS["none"]
        for shard in extract_missing(images, contents, store, self.key, lambda: self.engine, how, none, views=0):
            store.put(shard)


def inspected(images: ImageStore, known: pd.DataFrame | None = None) -> pd.DataFrame:
    """The manifest, every file looked at that ``known`` does not have."""
    known = pd.DataFrame() if known is None else known
    found = pd.concat([known, *inspect_new(images.listing, images, known, _LIMITS, threads=4)])
    return build_manifest(images.listing, found, _LIMITS, images.source)


def stamped(listing: pd.DataFrame) -> pd.DataFrame:
    """The columns by which a file is known to be unchanged."""
    return _stamped(listing, _LIMITS)[list(STAMP_COLUMNS)]
