from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from topwork.training.criterion import Criterion
from topwork.training.mixing import mix

TRUTH = torch.tensor([0, 1, 2, 3])
SCORES = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))


def generator(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_nothing_is_mixed_where_nothing_is_asked_for() -> None:
    pixels = torch.randint(0, 255, (4, 8, 8, 3), dtype=torch.uint8)
    inputs, loss = mix(pixels, TRUTH, 0, 0, Criterion(smoothing=0.1), generator())
    assert inputs is pixels
    assert loss(SCORES) == functional.cross_entropy(SCORES, TRUTH, label_smoothing=0.1)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("way", ["mixup", "cutmix"])
def test_labels_are_mixed_in_the_proportion_of_the_pixels(way: str, maps: bool) -> None:
    shape = (4, 5, 16, 16) if maps else (4, 16, 16, 3)
    levels = torch.tensor([0.0, 240, 240, 240]).view(4, 1, 1, 1).expand(shape)
    pixels = levels.clone() if maps else levels.to(torch.uint8)
    scores = torch.zeros(4, 4)
    scores[0, 0] = 20  # of the first image, which costs nothing if its label is 0 and 20 if it is another
    rest = 3 * torch.tensor(4.0).log()
    shares = set()
    for seed in range(20):
        strengths = (1.0, 0.0) if way == "mixup" else (0.0, 1.0)
        inputs, loss = mix(pixels, TRUTH, *strengths, Criterion(), generator(seed))
        assert (inputs.dtype, inputs.shape) == (pixels.dtype, pixels.shape)
        share = float(inputs[0].float().mean()) / 240
        assert (4 * loss(scores) - rest) / 20 == pytest.approx(share, abs=0.005)
        shares.add(round(share, 2))
    assert len(shares) > 5


def test_a_batch_is_mixed_by_its_generator_alone() -> None:
    pixels = torch.randint(0, 255, (4, 8, 8, 3), dtype=torch.uint8)
    first, second = (mix(pixels, TRUTH, 0.4, 1.0, Criterion(), generator(7))[0] for _ in range(2))
    assert torch.equal(first, second)
