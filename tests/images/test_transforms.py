from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from topwork.core.fits import far_from_square
from topwork.images.transforms import Preprocessing, all_crops, resize_and_crop

HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize("size", [(640, 480), (333, 500), (224, 224), (50, 400), (37, 41), (1, 1)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_the_result_is_that_of_torchvisions_resize_and_centre_crop(size: tuple[int, int], interpolation: str) -> None:
    from torchvision import transforms

    image = Image.fromarray(load_sample_image("china.jpg")).resize(size)
    theirs = transforms.Compose(
        [transforms.Resize(96, transforms.InterpolationMode(interpolation)), transforms.CenterCrop(80)]
    )(image)
    ours = resize_and_crop(np.array(image), Preprocessing(96, 80, interpolation, HALF, HALF))
    difference = np.abs(ours.astype(int) - np.asarray(theirs, int))
    assert (difference > 1).mean() < 1e-3
    assert difference.max() <= 8


def test_without_aspect_the_whole_image_is_squeezed() -> None:
    image = Image.new("RGB", (100, 10), "black")
    image.paste((255, 255, 255), (0, 0, 50, 10))
    square = resize_and_crop(np.array(image), Preprocessing(20, 20, "bilinear", HALF, HALF, keep_aspect=False))
    assert square[:, 2].min() == 255
    assert square[:, 17].max() == 0


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ValueError, match="larger than resize"):
        Preprocessing(100, 120, "bilinear", HALF, HALF)


PLAIN = Preprocessing(24, 20, "bilinear", HALF, HALF)
TALL, WIDE = (100, 50), (50, 100)  # height and width


def halves(height: int, width: int) -> np.ndarray:
    """Red in the first half of the long side, blue in the second."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 2] = 255
    first = (slice(0, height // 2), slice(None)) if height > width else (slice(None), slice(0, width // 2))
    pixels[first] = (255, 0, 0)
    return pixels


@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_a_padded_image_lies_whole_in_the_middle_of_its_canvas(shape: tuple[int, int], interpolation: str) -> None:
    how = Preprocessing(24, 20, interpolation, HALF, HALF).fitted("pad", "0-255-0")
    padded = resize_and_crop(halves(*shape), how)
    across = padded if shape == WIDE else padded.transpose(1, 0, 2)
    assert (across[:5] == (0, 255, 0)).all()
    assert (across[15:] == (0, 255, 0)).all()
    assert (across[5:15, 1] == (255, 0, 0)).all()
    assert (across[5:15, -2] == (0, 0, 255)).all()


def test_the_canvas_has_the_mean_colour_or_the_given_one() -> None:
    assert PLAIN.fitted("pad").colour == (128, 128, 128)
    assert PLAIN.fitted("pad", "255-0-7").colour == (255, 0, 7)
    assert PLAIN.fitted("pad", "255-0-7").fitted("crop") == PLAIN


@pytest.mark.parametrize("shape", [(1, 300), (300, 1)])
@pytest.mark.parametrize("fit", ["pad", "squash", "multicrop"])
def test_an_image_of_one_line_is_fitted_too(shape: tuple[int, int], fit: str) -> None:
    assert all_crops(np.zeros((*shape, 3), np.uint8), PLAIN.fitted(fit)).shape[1:] == (20, 20, 3)


def test_a_squashed_image_fills_the_square() -> None:
    square = resize_and_crop(halves(*WIDE), PLAIN.fitted("squash"))
    assert (square[:, 1] == (255, 0, 0)).all()
    assert (square[:, -2] == (0, 0, 255)).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "lanczos"])
def test_several_crops_reach_from_one_end_to_the_other(interpolation: str) -> None:
    how = Preprocessing(24, 20, interpolation, HALF, HALF)
    wide, tall = (all_crops(halves(*shape), how.fitted("multicrop")) for shape in (WIDE, TALL))
    np.testing.assert_array_equal(wide.transpose(0, 2, 1, 3), tall)
    np.testing.assert_array_equal(wide[1], resize_and_crop(halves(*WIDE), how))
    assert (wide[0][:, :18] == (255, 0, 0)).all()
    assert (wide[2][:, 2:] == (0, 0, 255)).all()


@pytest.mark.parametrize(("fit", "side"), [("crop", 24), ("multicrop", 24), ("pad", 20), ("squash", 20)])
def test_views_are_taken_from_the_crop_with_its_margin_or_from_the_whole_image(fit: str, side: int) -> None:
    canvas = resize_and_crop(halves(*WIDE), PLAIN.fitted(fit).canvas)
    assert canvas.shape == (side, side, 3)


def test_an_image_whose_long_side_is_more_than_half_as_long_again_is_far_from_square() -> None:
    images = pd.DataFrame({"width": [30, 31, 20, 20], "height": [20, 20, 20, 31]})
    assert far_from_square(images) == 0.5
    assert far_from_square(images.head(0)) == 0
