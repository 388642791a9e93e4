from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from topwork.images.transforms import Preprocessing, resize_and_crop

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
