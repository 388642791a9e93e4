from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.data.test_manifest import LIMITS, inspected, load
from topwork.core.columns import OK
from topwork.core.errors import InputError
from topwork.core.greys import Scale
from topwork.data.brightness import describe_pages, doubt_brightness
from topwork.data.grey_range import measure_grey_range
from topwork.data.manifest import build_manifest


def add_deep(folder: Path, tops: Sequence[float], kind: type = np.uint16) -> None:
    for number, top in enumerate(tops):
        values = np.linspace(0, top, 64).astype(kind).reshape(8, 8)
        values[0, 0] = number
        Image.fromarray(values).save(folder / "red" / f"deep{number}.tif")


def manifest_and_inspections(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    images = load(folder)
    found = inspected(images)
    return build_manifest(images.listing, found, LIMITS, str(folder)), found


@pytest.mark.parametrize(
    ("tops", "white", "message"),
    [
        pytest.param(
            [4095] * 3, None, "^3 images of type I;16 reach 4,095, and 65,535 is white.*give white=4095;", id="dark"
        ),
        pytest.param([4012] * 3, None, "reach 4,012.*give white=4095; or white=percentiles", id="bits are whole"),
        pytest.param(
            [900, 950, 1000, 60000], None, "^3 of 4 images .* reach 1,000.*give white=1023", id="most are dark"
        ),
        pytest.param([900, 60000], None, None, id="half are dark"),
        pytest.param([4095] * 3, 4095.0, None, id="said"),
        pytest.param([4095] * 3, (10.0, 4095.0), None, id="said with black"),
        pytest.param([60000] * 3, None, None, id="bright"),
        pytest.param([60000] * 3, 4095.0, "reach 60,000, and 4,095 is white.*cut off. Give white=60000", id="cut off"),
    ],
)
def test_images_of_more_bits_that_are_dark_or_cut_off_are_told_of(
    image_folder: Path, tops: list[int], white: Scale, message: str | None
) -> None:
    add_deep(image_folder, tops)
    doubts = doubt_brightness(*manifest_and_inspections(image_folder), white)
    assert len(doubts) == (message is not None)
    assert message is None or re.search(message, doubts[0])


def test_files_with_several_pages_are_counted(image_folder: Path) -> None:
    manifest, found = manifest_and_inspections(image_folder)
    assert describe_pages(manifest, found) == ""
    first, more = Image.new("RGB", (8, 8), "red"), [Image.new("RGB", (8, 8), "blue")]
    for number, form in enumerate(("tiff", "gif", "png", "webp", "avif")):
        path = image_folder / "red" / f"pages.{form}"
        first.putpixel((0, 0), (number, 0, 0))
        first.save(path, save_all=True, append_images=more, **({"lossless": True} if form == "webp" else {}))
    first.save(image_folder / "red" / "preview.jpg", "MPO", save_all=True, append_images=more)
    found = manifest_and_inspections(image_folder)
    assert describe_pages(*found) == "5 files have several pages or frames: the first one is used"


def test_black_and_white_leave_out_a_thousandth_on_each_side(image_folder: Path) -> None:
    values = np.linspace(200, 3000, 10_000).astype(np.uint16)
    values[:5], values[-5:] = 0, 65535  # dead and hot pixels
    Image.fromarray(values.reshape(100, 100)).save(image_folder / "blue" / "deep.png")
    found = measured(image_folder)
    assert found["images"] == 1
    assert found["black"] == pytest.approx(200, abs=5)
    assert found["white"] == pytest.approx(3000, abs=5)


def test_black_and_white_do_not_depend_on_order_or_labels(image_folder: Path) -> None:
    add_deep(image_folder, range(1000, 1300))
    manifest, images = manifest_and_inspections(image_folder)[0], load(image_folder)
    found = measure_grey_range(manifest, images, 10_000, 2)
    assert found["images"] == 256
    shuffled = manifest.sample(frac=1, random_state=0).assign(label="another")
    assert measure_grey_range(shuffled, images, 10_000, 2) == found


def test_without_images_of_more_bits_there_is_nothing_to_measure(image_folder: Path) -> None:
    assert measured(image_folder) == {"images": 0}


def test_integers_and_floating_point_have_no_scale_in_common(image_folder: Path) -> None:
    add_deep(image_folder, [4095])
    (image_folder / "red" / "deep0.tif").rename(image_folder / "red" / "other.tif")
    add_deep(image_folder, [1.0], np.float32)
    with pytest.raises(InputError, match=r"deep0.tif holds floating point and .*other.tif integers"):
        measured(image_folder)


def test_images_of_one_value_have_no_black_and_white(image_folder: Path) -> None:
    Image.fromarray(np.full((8, 8), 7, np.uint16)).save(image_folder / "red" / "flat.png")
    with pytest.raises(InputError, match=r"nearly all values are 7. Give white=NUMBER"):
        measured(image_folder)


def measured(folder: Path) -> dict[str, float]:
    manifest = manifest_and_inspections(folder)[0]
    assert (manifest["status"] == OK).all()
    return measure_grey_range(manifest, load(folder), 1_000_000, 2)
