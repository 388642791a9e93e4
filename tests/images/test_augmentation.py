from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from topwork.images.augmentation import apply_views
from topwork.images.views import PRESETS, draw_views

SIDE, SIZE = 64, 56
NOTHING = draw_views(PRESETS["none"], ["0" * 64], [1])


@pytest.fixture(scope="module")
def canvases() -> np.ndarray:
    noise = torch.from_numpy(np.random.default_rng(0).random((12, 3, 9, 9), np.float32))
    smooth = torch.nn.functional.interpolate(noise, (SIDE, SIDE), mode="bicubic").clamp(0, 1)
    return (smooth * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def drawn(**values: float) -> pd.DataFrame:
    return NOTHING.assign(**values)


def view(canvas: np.ndarray, fill: str = "mirror", **values: float) -> np.ndarray:
    return apply_views(canvas[None], drawn(**values), fill, SIZE)[0]


def centre(canvas: np.ndarray) -> np.ndarray:
    margin = (SIDE - SIZE) // 2
    return canvas[margin:-margin, margin:-margin]


def as_tensor(pixels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)


def as_pixels(image: torch.Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


def test_nothing_drawn_gives_the_centre_of_the_image(canvases: np.ndarray):
    np.testing.assert_array_equal(view(canvases[0]), centre(canvases[0]))


@pytest.mark.parametrize("preset", ["photo", "digits", "pattern"])
def test_a_batch_equals_its_images_one_by_one(canvases: np.ndarray, preset: str):
    plan = replace(PRESETS[preset], erasing=0.2, blur=0.02)
    table = draw_views(plan, [hashlib.sha256(bytes([number])).hexdigest() for number in range(12)], [1])
    assert table["shift_x"].nunique() == 12
    batch = apply_views(canvases, table, plan.fill, SIZE)
    for row, canvas in enumerate(canvases):
        alone = apply_views(canvas[None], table.iloc[[row]], plan.fill, SIZE)[0]
        assert abs(batch[row].astype(int) - alone).max() <= 1
    assert (batch != np.stack([centre(canvas) for canvas in canvases])).mean() > 0.5


def test_mirrors_are_exact(canvases: np.ndarray):
    np.testing.assert_array_equal(view(canvases[0], mirror_x=-1), centre(canvases[0])[:, ::-1])
    np.testing.assert_array_equal(view(canvases[0], mirror_y=-1), centre(canvases[0])[::-1])


def test_quarter_turns_are_exact(canvases: np.ndarray):
    np.testing.assert_array_equal(view(canvases[0], angle=90), np.rot90(centre(canvases[0]), 1))
    np.testing.assert_array_equal(view(canvases[0], angle=180), np.rot90(centre(canvases[0]), 2))


def test_a_shift_of_whole_pixels_shows_what_lies_there(canvases: np.ndarray):
    moved = view(canvases[0], shift_x=3 / SIZE, shift_y=-2 / SIZE)
    np.testing.assert_allclose(moved.astype(int), canvases[0][2:58, 7:63], atol=1)


@pytest.mark.parametrize(("angle", "zoom", "shear"), [(17, 1, 0), (0, 1.3, 0), (-25, 1.2, 0), (0, 1, 8)])
def test_geometry_is_that_of_torchvision(canvases: np.ndarray, angle: float, zoom: float, shear: float):
    ours = view(canvases[0], angle=angle, zoom=zoom, shear=shear)
    bilinear = reference.InterpolationMode.BILINEAR
    theirs = reference.affine(as_tensor(canvases[0]).float(), -angle, [0, 0], zoom, [shear, 0], bilinear)
    inside = slice(14, -14)
    assert abs(ours[inside, inside] - centre(as_pixels(theirs))[inside, inside]).max() < 2


def test_a_crop_is_the_part_of_the_image_that_it_names(canvases: np.ndarray):
    quarter = view(canvases[0], kept=0.25, kept_x=-1, kept_y=1)
    theirs = reference.resize(as_tensor(centre(canvases[0])[28:, :28]).float(), [SIZE, SIZE], antialias=False)
    assert abs(quarter[4:-4, 4:-4].astype(float) - as_pixels(theirs)[4:-4, 4:-4]).max() < 2


def test_a_stretch_keeps_the_area_and_changes_the_proportions(canvases: np.ndarray):
    wide = view(canvases[0], aspect=4)  # twice as much to be seen across, half as much along
    theirs = reference.resize(as_tensor(canvases[0]).float(), [2 * SIDE, SIDE // 2], antialias=False)
    assert abs(wide[18:38, 18:38] - as_pixels(reference.center_crop(theirs, [20, 20]))).max() < 2


@pytest.mark.parametrize(
    ("kind", "theirs"),
    [
        ("brightness", reference.adjust_brightness),
        ("contrast", reference.adjust_contrast),
        ("saturation", reference.adjust_saturation),
    ],
)
def test_colours_are_those_of_torchvision(canvases: np.ndarray, kind: str, theirs: object):
    for factor in (0.7, 1.3):
        ours = view(canvases[0], **{kind: factor})
        expected = theirs(as_tensor(centre(canvases[0])).float() / 255, factor) * 255
        assert abs(ours - as_pixels(expected)).max() < 1.5


def test_blur_is_that_of_torchvision(canvases: np.ndarray):
    ours = view(canvases[0], blur=1.5 / SIZE)
    expected = reference.gaussian_blur(as_tensor(centre(canvases[0])).float(), [11, 11], [1.5, 1.5])
    assert abs(ours - as_pixels(expected)).max() < 2


def test_erasing_paints_over_a_rectangle_of_the_area_drawn(canvases: np.ndarray):
    image = view(canvases[0], erased=0.25, erased_aspect=1, erased_x=0, erased_y=0)
    changed = (image != centre(canvases[0])).any(axis=2)
    assert changed.mean() == pytest.approx(0.25, abs=0.03)
    assert len(np.unique(image[changed], axis=0)) == 1


def test_what_lies_beyond_the_image_is_filled_as_asked():
    canvas = np.full((SIDE, SIDE, 3), 200, np.uint8)
    canvas[:, -1] = 10
    beyond = {fill: view(canvas, fill, shift_x=0.5)[28, -5:, 0] for fill in ("grey", "edge", "mirror")}
    assert set(beyond["grey"]) <= {127, 128}
    assert set(beyond["edge"]) == {10}
    assert set(beyond["mirror"]) == {200}
