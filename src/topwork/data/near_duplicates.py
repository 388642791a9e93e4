"""Finds near-duplicates: pairs where one image is the other re-encoded, resized or slightly cropped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from topwork.core.arrays import Floats, Integers
from topwork.core.progress import report_progress
from topwork.images.hashes import different_bits

PAIR_COLUMNS = ("image_id", "other", "cosine", "bits")
_BLOCK = 512  # images that are compared with all images at a time

Hashes = Callable[[Sequence[int]], NDArray[np.uint64]]


def find_pairs(
    image_ids: Sequence[str], vectors: Floats, hashes: Hashes, least_cosine: float, most_bits: int
) -> pd.DataFrame:
    """Pairs (columns ``PAIR_COLUMNS``) with similar features and similar lowest frequencies.

    Both criteria are needed: for a network trained on photographs all handwriting is similar, and smooth pictures have
    the same lowest frequencies. The mean is subtracted from the features before they are compared, so that the same
    threshold works in any domain.

    Args:
        image_ids: of the images, which all have different content.
        vectors: their features ``[n, d]``.
        hashes: returns the perceptual hashes of the images at the given positions; called for candidates only.
        least_cosine: smallest cosine between the features of a pair.
        most_bits: largest number of bits in which the hashes of a pair differ.

    """
    unit = vectors - vectors.mean(axis=0)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    known: dict[int, np.uint64] = {}
    found: list[pd.DataFrame] = []
    for first, other, cosine in _candidates(unit, least_cosine):
        lacking = [place for place in np.unique([first, other]).tolist() if place not in known]
        known.update(zip(lacking, hashes(lacking), strict=True))
        one, two = (np.array([known[place] for place in places], np.uint64) for places in (first, other))
        bits = different_bits(one, two)
        near = bits <= most_bits
        names = np.asarray(image_ids, object)
        pairs = {"image_id": names[first[near]], "other": names[other[near]], "cosine": cosine[near]}
        found.append(pd.DataFrame({**pairs, "bits": bits[near].astype(int)}))
    return pd.concat(found, ignore_index=True) if found else pd.DataFrame(columns=pd.Index(PAIR_COLUMNS))


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


def torn_images(pairs: pd.DataFrame, part_of: pd.Series[int]) -> set[str]:
    """Ids of images with a near-duplicate in another part (fold or split); images without a part are ignored."""
    known = pairs[pairs["image_id"].isin(part_of.index) & pairs["other"].isin(part_of.index)]
    apart = known[part_of.loc[known["image_id"]].to_numpy() != part_of.loc[known["other"]].to_numpy()]
    return {*apart["image_id"], *apart["other"]}


def _candidates(unit: Floats, least_cosine: float) -> Iterator[tuple[Integers, Integers, Floats]]:
    for start in range(0, len(unit), _BLOCK):
        report_progress("near-duplicates", start, len(unit), "images")
        cosine = unit[start : start + _BLOCK] @ unit[start:].T
        first, other = np.nonzero(cosine >= least_cosine)
        later = other > first
        first, other = first[later], other[later]
        if len(first):
            yield first + start, other + start, cosine[first, other]
    report_progress("near-duplicates", len(unit), len(unit), "images")
