from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import encode, scene
from topwork.data.near_duplicates import find_pairs, link_groups, torn_images
from topwork.images.decode import decode_pixels
from topwork.images.hashes import different_bits, perceptual_hash


def hash_of(image: Image.Image) -> np.uint64:
    return perceptual_hash(decode_pixels(encode(image, "JPEG", quality=90), 10**8))


@pytest.mark.parametrize(
    ("kind", "copied", "most"),
    [
        ("encoded again", lambda image: Image.open(io.BytesIO(encode(image, "JPEG", quality=40))).convert("RGB"), 4),
        ("resized", lambda image: image.resize((200, 150)), 4),
        ("cropped a little", lambda image: image.crop((8, 6, 312, 234)), 20),
    ],
)
def test_a_copy_differs_in_few_bits_and_another_picture_in_many(kind: str, copied: object, most: int) -> None:
    originals = [scene(seed) for seed in range(8)]
    hashes = np.array([hash_of(image) for image in originals])
    copies = np.array([hash_of(copied(image)) for image in originals])  # type: ignore[operator]
    assert different_bits(hashes, copies).max() <= most, kind
    assert different_bits(hashes, np.roll(hashes, 1)).min() > 20


class Hashed:
    """Hashes by place, and which were asked for."""

    def __init__(self, hashes: Sequence[int]) -> None:
        self.hashes, self.asked = np.array(hashes, np.uint64), list[int]()

    def __call__(self, places: Sequence[int]) -> NDArray[np.uint64]:
        self.asked += places
        return self.hashes[list(places)]


def test_a_pair_is_alike_to_the_network_and_in_its_hash() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    vectors[1] = vectors[0] + 0.01
    vectors[3] = vectors[2] + 0.01
    hashed = Hashed([0, 3, 0, 2**40 - 1, 0, 0])  # the first two differ in two bits, the next two in forty
    pairs = find_pairs(list("abcdef"), vectors, hashed, 0.85, 20)
    assert pairs[["image_id", "other", "bits"]].to_numpy().tolist() == [["a", "b", 2]]
    assert pairs["cosine"].iloc[0] > 0.99
    assert sorted(hashed.asked) == [0, 1, 2, 3]  # the others are not even decoded


def test_pairs_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("topwork.data.similar_pairs._BLOCK", 4)
    vectors = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32)
    for one, other in ((0, 19), (3, 4), (9, 10)):
        vectors[other] = vectors[one]
    pairs = find_pairs([str(place) for place in range(20)], vectors, Hashed([0] * 20), 0.85, 20)
    assert set(zip(pairs["image_id"], pairs["other"], strict=True)) == {("0", "19"), ("3", "4"), ("9", "10")}


def pairs_of(*pairs: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(pairs, columns=["image_id", "other"])


def test_groups_that_pairs_connect_become_one() -> None:
    groups = pd.Series({"a": "ga", "b": "gb", "c": "gc", "d": "gd", "e": "gb"})
    linked = link_groups(groups, pairs_of(("b", "c"), ("c", "d")))
    assert linked.to_dict() == {"a": "ga", "b": "gb", "c": "gb", "d": "gb", "e": "gb"}
    assert link_groups(groups, pairs_of()).equals(groups)


def test_torn_images_have_a_twin_in_another_part() -> None:
    parts = pd.Series({"a": 0, "b": 1, "c": 1, "d": 1})
    assert torn_images(pairs_of(("a", "b"), ("c", "d"), ("a", "elsewhere")), parts) == {"a", "b"}
