"""Batches in parallel threads: each thread decodes the bytes of one batch and computes its results."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from topwork.core.errors import InputError
from topwork.core.greys import Scale
from topwork.images.decode import RejectedError, decode_for_sides, decode_pixels, decode_values
from topwork.images.transforms import Preprocessing, all_crops

S = TypeVar("S")
T = TypeVar("T")
Wanted = Sequence[tuple[str, str]]
"""Pairs of image id and SHA-256."""

_BATCHES_AHEAD = 2  # queued per thread, in addition to the batch that it processes


def map_batches(
    compute: Callable[[Sequence[S]], T],
    wanted: Sequence[S],
    batch_size: int,
    threads: int,
    *,
    on_one_core: bool = False,
) -> Iterator[tuple[Sequence[S], T]]:
    """Pairs of a batch of ``wanted`` and its result of ``compute``, in order.

    Several batches are computed at a time, and few are held in memory. With ``on_one_core``, torch computes on one core
    in each thread; use it if the threads share the cores with other work. Idle workers of torch wait in a busy loop,
    which would slow down a network that trains at the same time by a fifth.
    """
    batches = (wanted[start : start + batch_size] for start in range(0, len(wanted), batch_size))
    with (
        _one_core_each() if on_one_core else nullcontext() as begin,
        ThreadPoolExecutor(threads, thread_name_prefix="batch", initializer=begin) as pool,
    ):
        waiting: deque[tuple[Sequence[S], Future[T]]] = deque()
        try:
            while True:
                room = threads * (1 + _BATCHES_AHEAD) - len(waiting)
                waiting.extend((batch, pool.submit(compute, batch)) for batch in islice(batches, room))
                if not waiting:
                    return
                batch, result = waiting.popleft()
                yield batch, result.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _one_core_each() -> Iterator[Callable[[], None]]:
    """A function for new threads to call; this thread, and threads that start later, keep their number of cores."""
    import torch

    own = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(own)


def decode_batch(
    images: Mapping[str, bytes], batch: Wanted, preprocessing: Preprocessing, max_pixels: int
) -> NDArray[np.uint8]:
    """Pixels ``[b, crop, crop, 3]`` in the order of ``batch``, of a preprocessing that takes one crop of an image.

    Raises:
        InputError: a file is missing, has changed since it was inspected, or can no longer be decoded.

    """
    return decode_for_all(images, batch, [preprocessing], max_pixels)[0][:, 0]


def decode_for_all(
    images: Mapping[str, bytes], batch: Wanted, preprocessings: Sequence[Preprocessing], max_pixels: int
) -> list[NDArray[np.uint8]]:
    """Pixels ``[b, k, crop, crop, 3]`` of the k crops for each preprocessing (`Preprocessing.places`).

    A file is read once, and decoded once where that is enough.

    Raises:
        InputError: a file is missing, has changed since it was inspected, or can no longer be decoded.

    """
    pixels = [np.empty((len(batch), len(how.places), how.crop, how.crop, 3), np.uint8) for how in preprocessings]
    wanted = [(how.short_side, how.white) for how in preprocessings]
    for row, (image_id, sha256) in enumerate(batch):
        decoded = _decode_unchanged(images, image_id, sha256, max_pixels, wanted)
        for of_all, each, how in zip(pixels, decoded, preprocessings, strict=True):
            of_all[row] = all_crops(each, how)
    return pixels


def decode_unchanged(
    images: Mapping[str, bytes],
    image_id: str,
    sha256: str,
    max_pixels: int,
    short_side: int,
    white: Scale = None,
) -> NDArray[np.uint8]:
    """The pixels ``[h, w, 3]`` of a file, if it still has the content that was inspected.

    A large JPEG is decoded at a reduced size that still has ``short_side`` pixels (`decode_pixels`).

    Raises:
        InputError: the file is missing, has changed, or can no longer be decoded.

    """
    return _decode_unchanged(images, image_id, sha256, max_pixels, [(short_side, white)])[0]


def _decode_unchanged(
    images: Mapping[str, bytes],
    image_id: str,
    sha256: str,
    max_pixels: int,
    wanted: Sequence[tuple[int, Scale]],
) -> list[NDArray[np.uint8]]:
    with _telling_changes(image_id):
        data = _unchanged(images, image_id, sha256)
        if len(wanted) == 1:
            return [decode_pixels(data, max_pixels, *wanted[0])]
        return decode_for_sides(data, max_pixels, wanted)


def unchanged_values(
    images: Mapping[str, bytes], image_id: str, sha256: str, *, max_pixels: int, at_most: int
) -> NDArray[np.float64]:
    """At most so many values ``[n]`` of a file as they are stored, if it still has the content that was inspected.

    Raises:
        InputError: the file is missing, has changed, or can no longer be decoded.

    """
    with _telling_changes(image_id):
        return decode_values(_unchanged(images, image_id, sha256), max_pixels, at_most)


def _unchanged(images: Mapping[str, bytes], image_id: str, sha256: str) -> bytes:
    data = images[image_id]
    if hashlib.sha256(data).hexdigest() != sha256:
        raise RejectedError("its content is no longer what it was")
    return data


@contextmanager
def _telling_changes(image_id: str) -> Iterator[None]:
    try:
        yield
    except (OSError, RejectedError) as error:
        raise InputError(
            f"{image_id} changed after it was inspected ({error}): run again from `--pipelines ingestion` on."
        ) from error
