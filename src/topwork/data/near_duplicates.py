"""Finds near-duplicates: pairs where one image is the other re-encoded, resized or slightly cropped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from topwork.core.arrays import Floats, Integers
from topwork.core.stores import FeatureRows
from topwork.data.similar_pairs import similar_pairs
from topwork.images.batches import decode_unchanged
from topwork.images.hashes import different_bits, perceptual_hash

PAIR_COLUMNS = ("image_id", "other", "cosine", "bits")
HASHED_SIDE = 128  # pixels of the short side; a perceptual hash uses 32

Hashes = Callable[[Sequence[int]], NDArray[np.uint64]]


def find_pairs(
    image_ids: Sequence[str],
    vectors: FeatureRows,
    hashes: Hashes,
    least_cosine: float,
    most_bits: int,
    *,
    indexed: bool = False,
) -> pd.DataFrame:
    """Pairs (columns ``PAIR_COLUMNS``) with similar features and similar lowest frequencies, in the images' order.

    Both criteria are needed: for a network trained on photographs all handwriting is similar, and smooth pictures have
    the same lowest frequencies. The mean is subtracted from the features before they are compared, so that the same
    threshold works in any domain.

    Args:
        image_ids: of the images, which all have different content.
        vectors: their features ``[n, d]``, of which a block is read at a time.
        hashes: returns the perceptual hashes of the images at the given positions; called for candidates only.
        least_cosine: smallest cosine between the features of a pair.
        most_bits: largest number of bits in which the hashes of a pair differ.
        indexed: whether nearly all pairs are enough, found by an inverted file (`similar_pairs`).

    """
    known = np.zeros(len(image_ids), bool)
    of_image = np.zeros(len(image_ids), np.uint64)
    found = [_table([], [], [], [])]
    for first, other, cosine in similar_pairs(vectors, len(image_ids), least_cosine, indexed=indexed):
        places = np.unique([first, other])
        lacking = places[~known[places]]
        of_image[lacking], known[lacking] = hashes(lacking.tolist()), True
        bits = different_bits(of_image[first], of_image[other])
        near = bits <= most_bits
        found.append(_table(first[near], other[near], cosine[near], bits[near]))
    pairs = pd.concat(found, ignore_index=True).drop_duplicates(["image_id", "other"])
    pairs = pairs.sort_values(["image_id", "other"], ignore_index=True)
    names = np.asarray(image_ids, object)
    return pairs.assign(image_id=names[pairs["image_id"]], other=names[pairs["other"]])


def _table(first: ArrayLike, other: ArrayLike, cosine: ArrayLike, bits: ArrayLike) -> pd.DataFrame:
    types = dict(zip(PAIR_COLUMNS, (int, int, np.float32, int), strict=True))
    return pd.DataFrame(dict(zip(PAIR_COLUMNS, (first, other, cosine, bits), strict=True))).astype(types)


def link_groups(group_of: pd.Series[str], pairs: pd.DataFrame) -> pd.Series[str]:
    """Group of each image (by image id); groups that a pair connects become one, under the first of their names."""
    if pairs.empty:
        return group_of
    number, names = pd.factorize(group_of, sort=True)
    place = pd.Series(number, index=group_of.index)
    ends: list[Any] = [place.loc[pairs[column]].to_numpy() for column in ("image_id", "other")]
    links = coo_array((np.ones(len(pairs)), (ends[0], ends[1])), shape=(len(names), len(names)))
    component = connected_components(links, directed=False)[1]
    first = pd.Series(names).groupby(component).transform("first").to_numpy()  # names are sorted
    return pd.Series(first[number], index=group_of.index, name=group_of.name)


def near_copy_groups(
    images: Mapping[str, bytes],
    table: pd.DataFrame,
    vectors: Floats,
    least_cosine: float,
    most_bits: int,
    max_pixels: int,
) -> Integers:
    """Number of the group of near-duplicates of each image, ``[n]``.

    Args:
        images: the files.
        table: columns ``image_id``, ``sha256`` of the images, which all have different content.
        vectors: their features ``[n, d]``.
        least_cosine: smallest cosine between the features of a pair.
        most_bits: largest number of bits in which the hashes of a pair differ.
        max_pixels: largest image.

    """
    ids, contents = table["image_id"].tolist(), table["sha256"].tolist()
    if len(ids) < 2:
        return np.arange(len(ids))

    def hashes(places: Sequence[int]) -> NDArray[np.uint64]:
        pixels = (decode_unchanged(images, ids[at], contents[at], max_pixels, HASHED_SIDE) for at in places)
        return np.fromiter((perceptual_hash(each) for each in pixels), np.uint64, len(places))

    pairs = find_pairs(ids, vectors, hashes, least_cosine, most_bits)
    return np.asarray(pd.factorize(link_groups(pd.Series(contents, index=ids, dtype=object), pairs))[0])


def torn_images(pairs: pd.DataFrame, part_of: pd.Series[int]) -> set[str]:
    """Ids of images with a near-duplicate in another part (fold or split); images without a part are ignored."""
    known = pairs[pairs["image_id"].isin(part_of.index) & pairs["other"].isin(part_of.index)]
    apart = known[part_of.loc[known["image_id"]].to_numpy() != part_of.loc[known["other"]].to_numpy()]
    return {*apart["image_id"], *apart["other"]}
