"""Features by one worker and by two, one thread each, on each backend: `python -m bench.workers --folder DIR`.

Prints for each backend the images a second of one and of two workers, measured in turn, the ratio of the medians, and
whether their vectors are equal to the byte to those of this process. The workers have built their network before the
clock starts, which stops when the last one has ended.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench.ours import feature_settings
from topwork.core.stores import ImageStore
from topwork.datasets.engine_store import FolderEngineStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.images.views import PRESETS
from topwork.models.extraction import extract_with, on_workers
from topwork.models.feature_key import resolved_key
from topwork.workers import hired

_PACKAGES = {"loky": "joblib", "ray": "ray", "dask": "distributed"}
_WARMING = 256  # images


class Extracting:
    """The features of some images, on an engine that was chosen once."""

    def __init__(self, folder: Path, count: int, work: Path) -> None:
        self.images: ImageStore = ImageFolderDataset(path=str(folder), layout="flat").load()
        ids = list(self.images)[:count]
        self.contents = {hashlib.sha256(self.images[image_id]).hexdigest(): image_id for image_id in ids}
        self.parameters, _ = feature_settings("efficientnet_lite0", "default")
        self.engines = FolderEngineStore(work / "engines")
        self.key = resolved_key(self.parameters, self.engines)
        self._work, self._number = work, 0

    def seconds(self, wanted: Sequence[str]) -> tuple[float, bytes]:
        """Seconds of the features of these images in a new store, and their vectors as bytes."""
        self._number += 1
        store = FolderFeatureStore(self._work / f"store-{self._number}")
        asked = self.parameters.model_copy(update={"threads": 1})
        extract = partial(extract_with, self.key, asked, self.engines, PRESETS["none"], 0)
        contents = {sha256: self.contents[sha256] for sha256 in wanted}
        start = time.perf_counter()
        for shard in on_workers(extract, [self.key], self.images, contents, store):
            store.put(shard)
        return time.perf_counter() - start, store.get(self.key, wanted).tobytes()


def measure(backend: str, work: Extracting, rounds: int, alone: bytes) -> str:
    """The row of a backend."""
    speeds: dict[int, list[float]] = {1: [], 2: []}
    wanted, equal = list(work.contents), True
    for _ in range(rounds):
        for count, found in speeds.items():
            with hired(backend, count, None, 1):
                work.seconds(wanted[:_WARMING])
                seconds, vectors = work.seconds(wanted)
            found.append(len(wanted) / seconds)
            equal &= vectors == alone
    one, two = median(speeds[1]), median(speeds[2])
    told = "equal to the byte" if equal else "DIFFERENT"
    return f"{backend:6} {one:7.0f} {two:7.0f} images/s, ratio {two / one:.2f} of {rounds} rounds; vectors {told}"


def main() -> None:
    """Measure the backends that are installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        work = Extracting(given.folder, given.images, Path(folder))
        _, alone = work.seconds(list(work.contents))
        for backend, package in _PACKAGES.items():
            print(measure(backend, work, given.rounds, alone) if find_spec(package) else f"{backend}: not installed")


if __name__ == "__main__":
    main()
