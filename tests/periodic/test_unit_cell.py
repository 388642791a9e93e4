from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from topwork.periodic.autocorrelation import autocorrelation
from topwork.periodic.unit_cell import CELL, find_lattice, mean_cell

SIDE, REACH = 128, 80
CELLS = {
    "square": ([30.0, 0.0], [0.0, 30.0]),
    "hexagonal": ([32.0, 0.0], [16.0, 27.7]),
    "turned": ([24.0, 11.0], [-13.0, 35.0]),
    "oblique": ([25.0, 4.0], [9.0, 33.0]),
}


def pattern(basis: NDArray[np.float64], seed: int = 0) -> torch.Tensor:
    """A sum of waves ``[1, 128, 128]`` with random phases, periodic under the basis (columns)."""
    random = np.random.default_rng(seed)
    line = np.arange(SIDE) + 0.5 - SIDE / 2
    x, y = np.meshgrid(line, line)
    fractional = np.stack([x, y], axis=-1) @ np.linalg.inv(basis).T
    waves = [(h, k) for h in range(-2, 3) for k in range(-2, 3) if (h, k) != (0, 0)]
    total = sum(random.normal() * np.cos(2 * np.pi * (fractional @ np.array(wave) + random.random())) for wave in waves)
    return torch.from_numpy(np.asarray(total, np.float32))[None]


@pytest.mark.parametrize("name", CELLS)
def test_the_lattice_of_a_pattern_is_found(name: str) -> None:
    truth = np.array(CELLS[name]).T
    (found,) = find_lattice(autocorrelation(pattern(truth), REACH), 10.0).double().numpy()
    change = np.linalg.solve(truth, found)
    np.testing.assert_allclose(change, change.round(), atol=0.05)
    assert abs(np.linalg.det(change.round())) == 1
    first, second = np.linalg.norm(found, axis=0)
    assert first <= second * 1.001
    assert -0.01 <= found[:, 0] @ found[:, 1] / (first * second) <= 0.51


def test_the_mean_cell_is_one_cell_of_the_pattern() -> None:
    basis = np.array(CELLS["oblique"]).T
    values = pattern(basis)
    (cell,) = mean_cell(values, torch.from_numpy(basis).float()[None]).numpy()
    steps = (np.stack(np.meshgrid(np.arange(CELL), np.arange(CELL), indexing="ij"), -1) / CELL) @ basis.T
    rows, columns = (np.floor(steps[..., axis] + SIDE / 2).astype(int) for axis in (1, 0))
    expected = values[0].numpy()[rows, columns]
    assert np.corrcoef(cell.ravel(), expected.ravel())[0, 1] > 0.98
    assert cell.mean() == pytest.approx(0, abs=1e-5)


def test_images_without_a_pattern_get_some_finite_lattice() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, SIDE, SIDE)).astype(np.float32))
    line = torch.arange(SIDE).float()
    for values in (noise, torch.zeros(1, SIDE, SIDE), line.expand(1, SIDE, SIDE), (line % 16).expand(1, SIDE, SIDE)):
        basis = find_lattice(autocorrelation(values.contiguous(), REACH), 10.0)
        assert torch.isfinite(basis).all()
        assert torch.isfinite(mean_cell(values, basis)).all()
