from __future__ import annotations

import hashlib

import numpy as np
import pytest

from tests.conftest import image_bytes
from topwork.images.batches import decoded_batches
from topwork.images.transforms import Preprocessing
from topwork.schemas import InputError

SQUARE = Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.5,) * 3)


def wanted(images: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]


def test_batches_come_in_the_order_asked_for_and_the_last_may_be_short() -> None:
    images = {f"{shade}": image_bytes(shade, (shade,) * 3) for shade in range(10, 240, 10)}
    batches = list(decoded_batches(images, wanted(images), SQUARE, batch_size=8, threads=3, max_pixels=10_000))
    assert [len(batch) for batch in batches] == [8, 8, 7]
    means = np.concatenate(batches).mean(axis=(1, 2, 3))
    assert (np.diff(means) > 0).all()


def test_a_file_that_changed_since_it_was_inspected_is_named() -> None:
    images = {"a/b.png": image_bytes(1)}
    asked = wanted(images)
    images["a/b.png"] = image_bytes(2)
    with pytest.raises(InputError, match=r"a/b\.png changed after it was inspected"):
        list(decoded_batches(images, asked, SQUARE, batch_size=4, threads=1, max_pixels=10_000))
