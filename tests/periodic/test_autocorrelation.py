from __future__ import annotations

import numpy as np
import pytest
import torch

from topwork.periodic.autocorrelation import autocorrelation, blurred, principal_colour


def test_each_entry_is_the_correlation_over_the_shared_pixels() -> None:
    values = np.random.default_rng(0).normal(size=(20, 24)).astype(np.float32)
    found = autocorrelation(torch.from_numpy(values)[None], 6)[0].numpy()
    for y, x in [(0, 0), (0, 5), (3, -2), (-6, 6), (6, 1)]:
        first = values[max(0, y) : 20 + min(0, y), max(0, x) : 24 + min(0, x)]
        second = values[max(0, -y) : 20 + min(0, -y), max(0, -x) : 24 + min(0, -x)]
        expected = np.corrcoef(first.ravel(), second.ravel())[0, 1]
        assert found[6 + y, 6 + x] == pytest.approx(expected, abs=1e-4)


def test_the_principal_colour_holds_the_contrast_whatever_its_hue() -> None:
    pattern = np.sign(np.random.default_rng(0).normal(size=(16, 16))).astype(np.float32)
    for hue in ([1, 0, 0], [0, 0, 1], [1, -1, 0], [-1, 2, -1]):
        images = 0.5 + 0.1 * torch.from_numpy(np.multiply.outer(np.array(hue, np.float32), pattern))[None]
        found = principal_colour(images)[0].numpy()
        assert abs(np.corrcoef(found.ravel(), pattern.ravel())[0, 1]) > 0.99


def test_a_blur_keeps_the_mean_of_a_plain_image_and_lowers_noise() -> None:
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 40, 40)).astype(np.float32))
    assert blurred(noise, 1.5).std() < 0.3
    torch.testing.assert_close(blurred(torch.full((1, 9, 9), 0.25), 0.8), torch.full((1, 9, 9), 0.25))
