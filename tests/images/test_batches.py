from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import numpy as np
import pytest

from tests.conftest import encode, image_bytes, scene
from topwork.core.errors import InputError
from topwork.images import decode
from topwork.images.batches import Wanted, decode_batch, decode_for_all, map_batches
from topwork.images.transforms import Preprocessing

SQUARE = Preprocessing(16, 16, "bilinear", (0.5,) * 3, (0.5,) * 3)


def wanted(images: dict[str, bytes]) -> list[tuple[str, str]]:
    return [(name, hashlib.sha256(data).hexdigest()) for name, data in images.items()]


def test_batches_come_in_the_order_asked_for_and_the_last_may_be_short() -> None:
    images = {f"{shade}": image_bytes(shade, (shade,) * 3) for shade in range(10, 240, 10)}
    asked = wanted(images)
    found = list(map_batches(lambda batch: decode_batch(images, batch, SQUARE, 10_000), asked, 8, threads=3))
    assert [len(pixels) for _, pixels in found] == [8, 8, 7]
    assert [pair for batch, _ in found for pair in batch] == asked
    means = np.concatenate([pixels for _, pixels in found]).mean(axis=(1, 2, 3))
    assert (np.diff(means) > 0).all()


def test_only_a_few_batches_are_held_at_a_time() -> None:
    started: list[str] = []
    lock = threading.Lock()

    def compute(batch: Wanted) -> None:
        with lock:
            started.append(batch[0][0])

    results = map_batches(compute, [(str(number), "") for number in range(1000)], 1, threads=2)
    next(results)
    assert len(started) <= 7
    results.close()  # type: ignore[attr-defined]
    assert len(started) < 10


def test_a_file_is_decoded_once_for_all_sizes_that_need_the_same_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    images = {"photo.jpg": encode(scene(1), "JPEG"), "drawing.png": encode(scene(2))}  # 320 x 240
    sizes = [replace(SQUARE, resize=side, crop=side) for side in (200, 210, 100, 16)]
    expected = [decode_batch(images, wanted(images), how, 100_000) for how in sizes]
    decoded: list[tuple[int, int]] = []
    decode_jpeg = decode._decode_jpeg
    monkeypatch.setattr(decode, "_decode_jpeg", lambda data, size: (decoded.append(size), decode_jpeg(data, size))[1])
    for found, alone in zip(decode_for_all(images, wanted(images), sizes, 100_000), expected, strict=True):
        np.testing.assert_array_equal(found[:, 0], alone)
    assert decoded == [(320, 240), (160, 120), (40, 30)]


def test_a_file_that_changed_since_it_was_inspected_is_named() -> None:
    images = {"a/b.png": image_bytes(1)}
    asked = wanted(images)
    images["a/b.png"] = image_bytes(2)
    with pytest.raises(InputError, match=r"a/b\.png changed after it was inspected"):
        decode_batch(images, asked, SQUARE, max_pixels=10_000)


def test_threads_that_share_the_cores_compute_on_one_and_the_caller_keeps_its_own() -> None:
    torch = pytest.importorskip("torch")
    own = torch.get_num_threads()
    counts = [count for _, count in map_batches(lambda _: torch.get_num_threads(), range(6), 1, 2, on_one_core=True)]
    assert counts == [1] * 6
    assert torch.get_num_threads() == own
    assert [count for _, count in map_batches(lambda _: torch.get_num_threads(), range(6), 1, 2)] == [own] * 6
