from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from topwork.symmetry.groups import GROUPS
from topwork.symmetry.render import Difficulty, RenderedFiles, Rendering, render_image

PLAIN = Rendering(size=64, cell=(0.2, 0.4), seed=0)


def test_an_image_is_a_function_of_group_number_and_seed():
    image = render_image("p4g", 3, PLAIN)
    assert image.shape == (64, 64, 3)
    np.testing.assert_array_equal(image, render_image("p4g", 3, PLAIN))
    others = [("p4g", 4, PLAIN), ("p4m", 3, PLAIN), ("p4g", 3, Rendering(64, (0.2, 0.4), seed=1))]
    assert all((image != render_image(*other)).any() for other in others)


def test_files_come_in_order_whatever_the_number_of_cores():
    files = dict(RenderedFiles(("p1", "p6m"), 30, PLAIN))
    assert list(files) == [f"{group}/{number:05d}.png" for group in ("p1", "p6m") for number in range(30)]
    decoded = np.asarray(Image.open(io.BytesIO(files["p6m/00029.png"])))
    np.testing.assert_array_equal(decoded, render_image("p6m", 29, PLAIN))


def test_more_images_leave_those_before_as_they_were():
    few, more = dict(RenderedFiles(("pg",), 2, PLAIN)), dict(RenderedFiles(("pg",), 4, PLAIN))
    assert few.items() <= more.items()


@pytest.mark.parametrize(("kind", "value"), [("noise", 0.2), ("blur", 3), ("perspective", 0.2), ("contrast", 0.5)])
def test_each_kind_of_difficulty_changes_the_image_and_can_be_switched_off(kind: str, value: float):
    hard = Rendering(64, (0.2, 0.4), 0, Difficulty(**{kind: value}))
    assert (render_image("pmg", 0, hard) != render_image("pmg", 0, PLAIN)).mean() > 0.05


def test_a_pattern_repeats_in_the_image_at_its_lattice():
    size = 128
    for group in GROUPS:
        image = render_image(group, 1, Rendering(size, (0.2, 0.2), 0)).astype(float)
        centred = image - image.mean(axis=(0, 1))
        spectrum = np.fft.rfft2(centred, axes=(0, 1))
        correlation = np.fft.irfft2((abs(spectrum) ** 2).sum(axis=2), s=(size, size))
        rows, columns = np.indices((size, size))
        distance = np.hypot(np.minimum(rows, size - rows), np.minimum(columns, size - columns))
        a_cell_away = (distance > 0.13 * size) & (distance < 0.36 * size)
        assert correlation[a_cell_away].max() > 0.4 * correlation[0, 0], group
