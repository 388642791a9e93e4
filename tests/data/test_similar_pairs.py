from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from topwork.core.arrays import Floats
from topwork.data import similar_pairs as module
from topwork.data.similar_pairs import similar_pairs

Found = dict[tuple[int, int], float]


def features(count: int, width: int, modes: int, seed: int) -> Floats:
    """Clusters with a few directions of large spread, far from zero; a third of the vectors are copies of others."""
    random = np.random.default_rng(seed)
    spread = np.arange(1, width + 1) ** -0.5
    centres = random.normal(size=(modes, width))
    vectors = (centres[np.arange(count) % modes] + random.normal(size=(count, width))) * spread
    source, copy = random.permutation(count)[: 2 * (count // 3)].reshape(2, -1)
    noise = random.normal(size=(len(copy), width)) * random.uniform(0, 0.8, (len(copy), 1))
    vectors[copy] = vectors[source] + noise * spread
    return (vectors + 3).astype(np.float32)


def plainly(vectors: Floats, least: float) -> Found:
    if not len(vectors):
        return {}
    unit = vectors - vectors.mean(axis=0, dtype=np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosine = unit @ unit.T
    return {(i, j): float(cosine[i, j]) for i, j in np.argwhere(np.triu(cosine, 1) >= least).tolist()}


def found(vectors: Floats, least: float, *, indexed: bool = False) -> Found:
    parts = similar_pairs(vectors, len(vectors), least, indexed=indexed)
    return {(i, j): cosine for part in parts for i, j, cosine in zip(*(each.tolist() for each in part), strict=True)}


def same_up_to_rounding(one: Found, other: Found, least: float) -> bool:
    surely = [{pair for pair, cosine in each.items() if cosine >= least + 1e-5} for each in (one, other)]
    return surely[0] <= other.keys() and surely[1] <= one.keys()


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 120), st.integers(1, 40), st.integers(1, 60), st.sampled_from([0.05, 0.5, 0.85, 1.0]), st.integers(0)
)
def test_the_bound_loses_no_pair_and_adds_none(count: int, width: int, axes: int, least: float, seed: int) -> None:
    vectors = features(count, width, 3, seed)
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"_SHORT": 0, "_BLOCK": 32, "_AXES": axes, "_CHECKED": 7, "_SAMPLE": 50}.items():
            patched.setattr(module, name, value)
        pairs = found(vectors, least)
    expected = plainly(vectors, least)
    assert same_up_to_rounding(pairs, expected, least)
    for pair in pairs.keys() & expected.keys():
        assert pairs[pair] == pytest.approx(expected[pair], abs=1e-5)


def test_the_same_pairs_are_found_among_many_as_by_the_plain_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHORT", 0)
    vectors = features(6000, 200, 20, 0)
    expected = plainly(vectors, 0.85)
    assert len(expected) > 1000
    assert same_up_to_rounding(found(vectors, 0.85), expected, 0.85)


def test_images_that_are_all_the_same_to_the_network_are_no_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHORT", 0)
    assert found(np.ones((5000, 130), np.float32), 0.5) == {}


@pytest.mark.skipif(find_spec("faiss") is None, reason="faiss is not installed: pip install 'topwork[faiss]'")
def test_the_index_finds_nearly_all_pairs_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SHORT", 0)
    vectors = features(6000, 200, 20, 0)
    expected, pairs = plainly(vectors, 0.85), found(vectors, 0.85, indexed=True)
    assert len(pairs.keys() & expected.keys()) >= 0.98 * len(expected)
    assert all(cosine >= 0.85 - 1e-5 for cosine in map(plainly(vectors, 0.8).__getitem__, pairs))
