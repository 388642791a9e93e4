"""Sources of training batches: images and their views, or the activations of frozen layers for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from topwork.core.arrays import Integers
from topwork.core.stores import FeatureRows, ImageStore
from topwork.images.augmentation import apply_views
from topwork.images.batches import decode_batch, map_batches
from topwork.images.transforms import Preprocessing
from topwork.images.views import ViewPlan, draw_views

_ROOM = 2**29  # bytes of decoded images


class Samples(Protocol):
    """Samples by row number in the list of training images; ``starts_at`` is the group of layers that takes them."""

    starts_at: int

    def batch(self, rows: Integers, view: int) -> Tensor:
        """Input of the network, ``[len(rows), …]``; view 0 is the original."""
        ...

    def view_of(self, epoch: int) -> int:
        """Number of the view that an epoch uses for all images; each image has its own random draw for it."""
        ...


class ImageSamples:
    """Pixels ``[b, h, w, 3]`` (uint8) of the originals or of their views; every epoch uses another view."""

    starts_at = 0

    def __init__(
        self,
        images: Mapping[str, bytes],
        contents: Sequence[tuple[str, str]],
        preprocessing: Preprocessing,
        plan: ViewPlan,
        max_pixels: int,
        views: int | None = None,
    ) -> None:
        self._images = images
        self._contents = contents
        self._preprocessing = preprocessing
        self._plan = plan
        self._max_pixels = max_pixels
        self._views = views
        self._canvases: dict[int, NDArray[np.uint8]] = {}

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: the files that belong to the samples, and no decoded image."""
        state = {**self.__dict__, "_canvases": {}}
        if isinstance(self._images, ImageStore):
            state["_images"] = self._images.only([image_id for image_id, _ in self._contents])
        return state

    def batch(self, rows: Integers, view: int) -> Tensor:
        """The originals (view 0), or the views with this number."""
        wanted = [self._contents[row] for row in rows]
        if view == 0:
            return torch.from_numpy(decode_batch(self._images, wanted, self._preprocessing, self._max_pixels))
        canvases = np.stack([self._canvas(row) for row in rows])
        drawn = draw_views(self._plan, [sha256 for _, sha256 in wanted], [view])
        return torch.from_numpy(apply_views(canvases, drawn, self._plan.fill, self._preprocessing.crop))

    def _canvas(self, row: int) -> NDArray[np.uint8]:
        """The decoded image that views are made from, cached up to a limit: decoding is slower than a small network."""
        if row in self._canvases:
            return self._canvases[row]
        wanted, how = [self._contents[row]], self._preprocessing.canvas
        canvas: NDArray[np.uint8] = decode_batch(self._images, wanted, how, self._max_pixels)[0]
        if (1 + len(self._canvases)) * canvas.nbytes <= _ROOM:
            self._canvases[row] = canvas
        return canvas

    def view_of(self, epoch: int) -> int:
        """The number of the epoch; if the number of views is given, they are repeated in turn."""
        return epoch if self._views is None else epoch % (1 + self._views)


class ActivationSamples:
    """Cached feature maps ``[b, c, h, w]`` after the frozen layers, for the original and some views."""

    def __init__(self, by_view: Sequence[FeatureRows], shape: Sequence[int], starts_at: int) -> None:
        self.starts_at = starts_at
        self._by_view = by_view
        self._shape = tuple(shape)

    def batch(self, rows: Integers, view: int) -> Tensor:
        """Activations in float32, read from memory-mapped files."""
        flat = torch.from_numpy(np.asarray(self._by_view[view][rows])).float()
        maps = flat.view(-1, *self._shape)
        return maps.contiguous(memory_format=torch.channels_last) if maps.ndim == 4 else maps

    def view_of(self, epoch: int) -> int:
        """The cached views in turn."""
        return epoch % len(self._by_view)


def load_batches(
    samples: Samples, batches: Sequence[Integers], view: int, threads: int
) -> Iterator[tuple[Integers, Tensor]]:
    """Rows and input of each batch, in the given order; threads prepare the next batches in the meantime."""

    def load(batch: Sequence[Integers]) -> Tensor:
        return samples.batch(batch[0], view)

    for (rows,), inputs in map_batches(load, batches, 1, threads, on_one_core=True):
        yield rows, inputs
