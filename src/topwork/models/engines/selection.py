"""Finds the fastest engine for a network on this machine, of those that compute the same as the reference."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.models.engines import REFERENCE, available_engines, build_engine
from topwork.models.engines.engine import Engine, Recipe
from topwork.models.engines.hardware import native_formats

SMALLEST_COSINE = 0.99
"""Smallest cosine of a photograph's features with the reference's, for nineteen of twenty photographs.
EfficientNet-Lite0 in bfloat16 has 0.997 on clothing photographs, in PyTorch and in OpenVINO. A linear classifier then
changes its answer for one in a hundred, as often to a better one as to a worse one
(`docs/decisions/0008-engines.md`)."""
SMALLEST_AGREEMENT = 0.9
"""Smallest share of crops for which a linear classifier gives the same answer as on the reference's features."""

_SECONDS = 0.5  # of measurement for each candidate
_CROPS = 4  # of each class
_RIDGE = 1e-3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """Result of one engine: images per second, cosine with the reference (5 % quantile), share of equal predictions."""

    engine: str
    number_format: str
    images_per_second: float
    cosine: float
    agreement: float

    @property
    def equivalent(self) -> bool:
        """Whether its features can replace those of the reference."""
        return self.cosine >= SMALLEST_COSINE and self.agreement >= SMALLEST_AGREEMENT


def choose_engine(recipe: Recipe, engine: str, number_format: str) -> tuple[Recipe, list[Trial]]:
    """The recipe with the fastest engine and number format of those that ``engine`` and ``number_format`` allow.

    The list has the trials that were made. ``auto`` allows all that the hardware runs natively; a name allows only that
    engine or format. The compiled engine is tried only if it is named, because compiling takes a minute. float32 is
    tried only if no shorter format computes the same. The trials use real photographs, cropped to the network's size.
    """
    engines = [name for name in available_engines() if name != "compiled"] if engine == "auto" else [engine]
    formats = [*native_formats(), "float32"] if number_format == "auto" else [number_format]
    if len(engines) * len(formats) == 1:
        return replace(recipe, engine=engines[0], number_format=formats[0]), []
    pixels, labels = _photographs(recipe.preprocessing)
    reference = _features(build_engine(_made(recipe, *REFERENCE)), pixels)
    trials: list[Trial] = []
    for format_ in formats:
        trials += _trials(recipe, [(name, format_) for name in engines], pixels, labels, reference)
        equivalent = [trial for trial in trials if trial.equivalent]
        if best := max(equivalent, key=lambda trial: trial.images_per_second, default=None):
            return _made(recipe, best.engine, best.number_format), trials
    return _made(recipe, *REFERENCE), trials


def _trials(
    recipe: Recipe,
    candidates: Sequence[tuple[str, str]],
    pixels: NDArray[np.uint8],
    labels: NDArray[np.intp],
    reference: Floats,
) -> Iterator[Trial]:
    for candidate in candidates:
        try:
            engine = build_engine(_made(recipe, *candidate))
            features = _features(engine, pixels)  # warms up as well
            speed = _speed(engine, pixels)
        except Exception as error:  # converters raise various exceptions on unknown networks
            reason = str(error).strip().split("\n")[0]
            _log.debug("%s cannot run this network in %s (%s)", *candidate, reason)
            continue
        yield Trial(*candidate, speed, _cosine(reference, features), _agreement(reference, features, labels))


def _made(recipe: Recipe, engine: str, number_format: str) -> Recipe:
    return replace(recipe, engine=engine, number_format=number_format)


def _photographs(preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Crops ``[32, side, side, 3]`` of scikit-learn's two photographs in four rotations, and the class of each crop.

    A class is one photograph in one rotation.
    """
    from sklearn.datasets import load_sample_images

    generator = np.random.default_rng(0)
    crops = []
    for photograph in load_sample_images().images:
        height, width = photograph.shape[:2]
        for quarter_turns in range(4):
            for size in generator.integers(height * 3 // 4, height, _CROPS):
                top, left = generator.integers(0, (height - size, width - size))
                cut = np.rot90(photograph[top : top + size, left : left + size], quarter_turns)
                crops.append(resize_and_crop(cut, preprocessing))
    return np.stack(crops), np.arange(len(crops)) // _CROPS


def _features(engine: Engine, pixels: NDArray[np.uint8]) -> Floats:
    with ThreadPoolExecutor(engine.streams) as pool:
        return np.concatenate(list(pool.map(engine, _batches(engine, pixels))))


def _speed(engine: Engine, pixels: NDArray[np.uint8]) -> float:
    """Images per second with all streams busy."""
    full = np.resize(pixels, (engine.batch_size, *pixels.shape[1:]))
    done, start = 0, time.perf_counter()
    with ThreadPoolExecutor(engine.streams) as pool:
        while (passed := time.perf_counter() - start) < _SECONDS:
            done += sum(len(features) for features in pool.map(engine, [full] * 2 * engine.streams))
    return done / passed


def _batches(engine: Engine, pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [pixels[start : start + engine.batch_size] for start in range(0, len(pixels), engine.batch_size)]


def _cosine(reference: Floats, features: Floats) -> float:
    lengths = np.linalg.norm(reference, axis=1) * np.linalg.norm(features, axis=1)
    return float(np.quantile((reference * features).sum(axis=1) / np.maximum(lengths, 1e-12), 0.05))


def _agreement(reference: Floats, features: Floats, labels: NDArray[np.intp]) -> float:
    """Share of odd crops for which a ridge classifier gives the same answer on both kinds of features.

    It is fitted on the reference features of the even crops.
    """
    mean, scale = reference[::2].mean(axis=0), reference[::2].std(axis=0) + 1e-6
    fitted, ours, theirs = ((each - mean) / scale for each in (reference[::2], features[1::2], reference[1::2]))
    kernel = fitted @ fitted.T
    targets = np.eye(labels.max() + 1)[labels[::2]]
    weights = fitted.T @ np.linalg.solve(kernel + _RIDGE * np.trace(kernel) * np.eye(len(kernel)), targets)
    return float(((ours @ weights).argmax(axis=1) == (theirs @ weights).argmax(axis=1)).mean())
