"""Which engine is fastest on this machine for this network, of those that compute what the reference does."""

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
"""Of a photograph's features with the reference's, in nineteen of twenty. In bfloat16 EfficientNet-Lite0 has 0.997 on
clothing photographs, whether run by PyTorch or OpenVINO, and a linear classifier then changes its mind on one in a
hundred, as often for the better as for the worse (`docs/decisions/0008-engines.md`)."""
SMALLEST_AGREEMENT = 0.9
"""Share of crops of photographs that a linear classifier calls as it does on the reference's features."""

_SECONDS = 0.5  # of measuring each candidate
_CROPS = 4  # of each class
_RIDGE = 1e-3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trial:
    """How one engine did: images a second, cosine with the reference (5 % quantile), share of equal predictions."""

    engine: str
    number_format: str
    images_per_second: float
    cosine: float
    agreement: float

    @property
    def equivalent(self) -> bool:
        """Whether its features may stand for the reference's."""
        return self.cosine >= SMALLEST_COSINE and self.agreement >= SMALLEST_AGREEMENT


def choose_engine(recipe: Recipe, engine: str, number_format: str) -> tuple[Recipe, list[Trial]]:
    """The recipe with the fastest engine and number format of those that ``engine`` and ``number_format`` allow.

    ``auto`` allows those that the hardware runs natively; what is named is taken as it is. Compiling is never tried
    by itself: it takes a minute. float32 is tried only where nothing shorter computes the same. The trials are of
    real photographs, cropped to the network's size.
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
        except Exception as error:  # converters fail in their own ways on networks that they do not know
            reason = str(error).strip().split("\n")[0]
            _log.info("%s cannot run this network in %s (%s)", *candidate, reason)
            continue
        yield Trial(*candidate, speed, _cosine(reference, features), _agreement(reference, features, labels))


def _made(recipe: Recipe, engine: str, number_format: str) -> Recipe:
    return replace(recipe, engine=engine, number_format=number_format)


def _photographs(preprocessing: Preprocessing) -> tuple[NDArray[np.uint8], NDArray[np.intp]]:
    """Crops ``[32, side, side, 3]`` of scikit-learn's two photographs, turned four ways, and the class of each.

    A class is a photograph and the way it is turned.
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
    """Images a second, all streams busy."""
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
    """Share of equal answers of a ridge classifier fitted on the even crops' reference features, on the odd crops."""
    mean, scale = reference[::2].mean(axis=0), reference[::2].std(axis=0) + 1e-6
    fitted, ours, theirs = ((each - mean) / scale for each in (reference[::2], features[1::2], reference[1::2]))
    kernel = fitted @ fitted.T
    targets = np.eye(labels.max() + 1)[labels[::2]]
    weights = fitted.T @ np.linalg.solve(kernel + _RIDGE * np.trace(kernel) * np.eye(len(kernel)), targets)
    return float(((ours @ weights).argmax(axis=1) == (theirs @ weights).argmax(axis=1)).mean())
