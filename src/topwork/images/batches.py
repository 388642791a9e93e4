"""Decoding ahead of the network: threads read, check and resize while it computes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from topwork.images.decode import RejectedError, decode_rgb
from topwork.images.transforms import Preprocessing, resize_and_crop
from topwork.schemas import InputError

_BATCHES_AHEAD = 3


def decoded_batches(
    images: Mapping[str, bytes],
    wanted: Sequence[tuple[str, str]],
    preprocessing: Preprocessing,
    batch_size: int,
    threads: int,
    max_pixels: int,
) -> Iterator[NDArray[np.uint8]]:
    """Batches of pixels ``[b, crop, crop, 3]`` in the order of ``wanted``, pairs of image id and SHA-256.

    At most a few batches are held at a time.

    Raises:
        InputError: a file is gone, changed since it was inspected, or no longer decodes.

    """

    def pixels(image_id: str, sha256: str) -> NDArray[np.uint8]:
        return resize_and_crop(decode_unchanged(images, image_id, sha256, max_pixels), preprocessing)

    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        waiting: deque[Future[NDArray[np.uint8]]] = deque()
        remaining = iter(wanted)
        try:
            while True:
                room = _BATCHES_AHEAD * batch_size - len(waiting)
                waiting.extend(pool.submit(pixels, *item) for item in islice(remaining, room))
                if not waiting:
                    return
                yield np.stack([waiting.popleft().result() for _ in range(min(batch_size, len(waiting)))])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def decode_unchanged(images: Mapping[str, bytes], image_id: str, sha256: str, max_pixels: int) -> Image.Image:
    """The image in RGB, if its file still holds what was inspected.

    Raises:
        InputError: the file is gone, changed, or no longer decodes.

    """
    try:
        data = images[image_id]
        if hashlib.sha256(data).hexdigest() != sha256:
            raise RejectedError("its content is no longer what it was")
        return decode_rgb(data, max_pixels)
    except (OSError, RejectedError) as error:
        raise InputError(
            f"{image_id} changed after it was inspected ({error}): run again from `--pipelines ingestion` on."
        ) from error
