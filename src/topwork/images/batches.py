"""Decoding and computing side by side: each thread takes a batch from bytes to results."""

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
from topwork.images.decode import RejectedError, decode_pixels
from topwork.images.transforms import Preprocessing, resize_and_crop

S = TypeVar("S")
T = TypeVar("T")
Wanted = Sequence[tuple[str, str]]
"""Pairs of image id and SHA-256."""

_BATCHES_AHEAD = 2  # a thread, beside the one in its hands


def map_batches(
    compute: Callable[[Sequence[S]], T],
    wanted: Sequence[S],
    batch_size: int,
    threads: int,
    *,
    on_one_core: bool = False,
) -> Iterator[tuple[Sequence[S], T]]:
    """``compute`` of each batch of ``wanted``, in their order, several at a time; few are held at once.

    ``on_one_core`` is for threads that have the cores to share: torch computes on one core in each of them. Its idle
    workers wait busily, and would take from a network that learns meanwhile a fifth of its speed.
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
    """What a new thread has to call; this one, and others that begin later, keep as many cores as they have."""
    import torch

    own = torch.get_num_threads()
    try:
        yield lambda: torch.set_num_threads(1)
    finally:
        torch.set_num_threads(own)


def decode_batch(
    images: Mapping[str, bytes], batch: Wanted, preprocessing: Preprocessing, max_pixels: int
) -> NDArray[np.uint8]:
    """Pixels ``[b, crop, crop, 3]`` in the order of ``batch``.

    Raises:
        InputError: a file is gone, changed since it was inspected, or no longer decodes.

    """
    side = preprocessing.crop
    pixels = np.empty((len(batch), side, side, 3), np.uint8)
    for row, (image_id, sha256) in enumerate(batch):
        decoded = decode_unchanged(images, image_id, sha256, max_pixels, preprocessing.resize, preprocessing.white)
        pixels[row] = resize_and_crop(decoded, preprocessing)
    return pixels


def decode_unchanged(
    images: Mapping[str, bytes],
    image_id: str,
    sha256: str,
    max_pixels: int,
    short_side: int,
    white: float | None = None,
) -> NDArray[np.uint8]:
    """The pixels ``[h, w, 3]``, no more than ``short_side`` asks for, if the file still holds what was inspected.

    Raises:
        InputError: the file is gone, changed, or no longer decodes.

    """
    try:
        data = images[image_id]
        if hashlib.sha256(data).hexdigest() != sha256:
            raise RejectedError("its content is no longer what it was")
        return decode_pixels(data, max_pixels, short_side, white)
    except (OSError, RejectedError) as error:
        raise InputError(
            f"{image_id} changed after it was inspected ({error}): run again from `--pipelines ingestion` on."
        ) from error
