"""Finds pairs of similar vectors among many: all pairs, or by an inverted file nearly all of them."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from scipy.linalg import eigh

from topwork.core.arrays import Floats, Integers
from topwork.core.progress import report_progress
from topwork.core.stores import FeatureRows

_BLOCK = 2048  # vectors compared with as many at a time; their products, 16 MB, stay in the processor's cache
_SHORT = 8192  # vectors; up to so many, finding the axes takes longer than it saves
_AXES = 128  # of 1,280; 64 leave six times the candidates, 256 are twice the work
_SAMPLE = 5_000  # vectors from which the axes are found: 40 for each
_SLACK = 1e-4  # more than the rounding errors of float32, so that none of them loses a pair
_CHECKED = 4096  # candidates compared in full at a time
_LISTS = 4  # times the root of the number of vectors: then lists are as long to choose as to read
_LEARNT_FROM = 40  # vectors a list; faiss warns below 39
_ROUNDS = 6  # of k-means; more did not find more pairs
_PROBED = 8  # lists read for a vector (docs/decisions/0011-near-duplicates.md has the shares that are found)

Pairs = tuple[Integers, Integers, Floats]


def has_index() -> bool:
    """Whether the library of the inverted file, faiss, is installed."""
    return find_spec("faiss") is not None


def similar_pairs(vectors: FeatureRows, count: int, least_cosine: float, *, indexed: bool) -> Iterator[Pairs]:
    """Pairs with a cosine of at least ``least_cosine``, the mean of all vectors subtracted.

    They come in parts: rows ``first`` ``[m]`` and ``other`` ``[m]``, where ``first < other``, and cosines ``[m]``. With
    ``indexed`` some pairs come twice and about one in a hundred is not found; the time grows with the power 3/2 of the
    number of vectors instead of its square.

    A vector is first seen along the principal axes alone, and by the length of what remains. By the inequality of
    Cauchy and Schwarz the remainders add at most the product of their lengths to a cosine. What may be similar by this
    bound is compared in full, so it costs no pair.

    Args:
        vectors: rows ``[d]``, read in blocks; an array, or rows of the feature store.
        count: of the rows.
        least_cosine: of a pair.
        indexed: whether an inverted file is used, for which faiss must be installed.

    """
    directions = _Directions(vectors, count)
    sketches = _sketches(directions, count)
    candidates = _by_index if indexed else _by_products
    for first, other in candidates(sketches, least_cosine - _SLACK):
        cosine = _cosines(directions, first, other)
        similar = cosine >= least_cosine
        if similar.any():
            yield first[similar], other[similar], cosine[similar]
    report_progress("near-duplicates", count, count, "images")


class _Directions:
    """The vectors from the mean of all, at length 1, computed on access."""

    def __init__(self, vectors: FeatureRows, count: int) -> None:
        self._vectors = vectors
        # in float64: the sum of a million numbers in float32 is wrong in the third digit
        total = sum(vectors[rows].sum(axis=0, dtype=np.float64) for rows in _blocks(count))
        self._mean = np.asarray(total / max(count, 1), np.float32)

    def __getitem__(self, rows: Integers) -> Floats:
        centred = self._vectors[rows] - self._mean
        return np.asarray(centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12))


def _blocks(count: int) -> Iterator[Integers]:
    return (np.arange(start, min(start + _BLOCK, count)) for start in range(0, count, _BLOCK))


def _sketches(directions: _Directions, count: int) -> Floats:
    """Short vectors ``[n, axes + 1]`` whose products are upper bounds of the cosines; of few vectors, themselves."""
    if count <= _SHORT:
        return directions[np.arange(count)]
    sample = directions[np.linspace(0, count - 1, min(count, _SAMPLE)).astype(int)]
    width = sample.shape[1]
    axes = eigh(sample.T @ sample, subset_by_index=[max(width - _AXES, 0), width - 1], driver="evx")[1]
    sketches = np.empty((count, axes.shape[1] + 1), np.float32)
    for rows in _blocks(count):
        whole = directions[rows]
        along = whole @ axes
        remaining = np.square(whole).sum(axis=1) - np.square(along).sum(axis=1)
        sketches[rows, :-1] = along
        sketches[rows, -1] = np.sqrt(np.maximum(remaining, 0) + _SLACK)  # the difference is rounded
    return sketches


def _by_products(sketches: Floats, least: float) -> Iterator[tuple[Integers, Integers]]:
    for rows in _blocks(len(sketches)):
        start = int(rows[0])
        report_progress("near-duplicates", start, len(sketches), "images")
        for column in range(start, len(sketches), _BLOCK):
            columns = sketches[column : column + _BLOCK]
            found = np.flatnonzero(sketches[start : start + _BLOCK] @ columns.T >= least)
            first, other = found // len(columns) + start, found % len(columns) + column
            yield first[first < other], other[first < other]


def _by_index(sketches: Floats, least: float) -> Iterator[tuple[Integers, Integers]]:
    """A pair is found from either end: the second vector is in a list near the first, or the first near the second."""
    import faiss

    count, width = sketches.shape
    lists = min(count, round(_LISTS * count**0.5))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, lists, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.min_points_per_centroid, index.nprobe = _ROUNDS, 1, _PROBED
    index.train(sketches[np.linspace(0, count - 1, min(count, _LEARNT_FROM * lists)).astype(int)])
    index.add(sketches)
    for rows in _blocks(count):
        report_progress("near-duplicates", int(rows[0]), count, "images")
        edges, _, found = index.range_search(sketches[rows], least)
        asked = np.repeat(rows, np.diff(edges.astype(int)))
        apart = asked != found
        yield np.minimum(asked, found)[apart], np.maximum(asked, found)[apart]


def _cosines(directions: _Directions, first: Integers, other: Integers) -> Floats:
    parts = [slice(start, start + _CHECKED) for start in range(0, len(first), _CHECKED)]
    cosines = [np.einsum("ij,ij->i", directions[first[part]], directions[other[part]]) for part in parts]
    return np.concatenate([np.empty(0, np.float32), *cosines])
