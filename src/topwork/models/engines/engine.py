"""The interface of engines, which compute features from pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Semaphore
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.core.stores import NetworkStore
from topwork.images.transforms import Preprocessing

if TYPE_CHECKING:
    from topwork.models.backbones import Backbone


@dataclass(frozen=True)
class Recipe:
    """The settings of an engine: which features of which network it computes, in which number format.

    ``backbone`` is called when the network is needed. An engine that finds its converted network in ``networks`` under
    ``network_name`` does not need it.
    """

    engine: str
    number_format: str
    layers: tuple[str, ...]
    pool: str
    preprocessing: Preprocessing
    backbone: Callable[[], Backbone]
    batch_size: int | None = None  # None: the default of the engine
    networks: NetworkStore | None = None
    network_name: str = ""


@dataclass(frozen=True)
class Engine:
    """A function from pixels ``[b, h, w, 3]`` (uint8) to features ``[b, d]`` (float32).

    It may be called from any number of threads; ``streams`` of them compute at once and the others wait. Short batches
    are padded to ``batch_size``, so that the same kernels run and a vector never depends on the rest of its batch.
    """

    run: Callable[[NDArray[np.uint8]], Floats]
    batch_size: int
    streams: int = 1
    _free: Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_free", Semaphore(self.streams))

    def __call__(self, pixels: NDArray[np.uint8]) -> Floats:
        """Features of at most ``batch_size`` images."""
        missing = self.batch_size - len(pixels)
        padded: Any = np.concatenate([pixels, np.zeros((missing, *pixels.shape[1:]), np.uint8)]) if missing else pixels
        with self._free:
            return self.run(padded)[: len(pixels)]

    def mean(self, crops: NDArray[np.uint8]) -> Floats:
        """Features of at most ``batch_size`` images, each the mean over its k crops ``[b, k, h, w, 3]``."""
        of_crops = [self(np.ascontiguousarray(crops[:, place])) for place in range(crops.shape[1])]
        return of_crops[0] if len(of_crops) == 1 else np.asarray(np.mean(of_crops, axis=0))
