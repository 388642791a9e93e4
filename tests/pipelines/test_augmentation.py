from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import PROJECT, image_bytes
from topwork.core.columns import INSPECTION_COLUMNS
from topwork.core.errors import InputError
from topwork.core.parameters import AugmentationParameters, FeatureParameters
from topwork.core.stores import ImageStore
from topwork.data.manifest import Limits, build_manifest, inspect_new
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.pipelines.augmentation.nodes import draw_sheet, list_views
from topwork.run.configuration import load_configuration


@pytest.fixture
def parameters() -> AugmentationParameters:
    block = load_configuration(PROJECT / "conf", None, {})["parameters"]["augmentation"]
    return AugmentationParameters(**{**block, "views": 2, "sheet_images": 4, "sheet_views": 3})


@pytest.fixture
def features() -> FeatureParameters:
    return FeatureParameters(**load_configuration(PROJECT / "conf", None, {})["parameters"]["features"])


def inspected(folder: Path) -> tuple[ImageStore, pd.DataFrame]:
    images, limits = ImageFolderDataset(path=str(folder)).load(), Limits(10**6, 10**6)
    nothing = pd.DataFrame(columns=pd.Index(INSPECTION_COLUMNS))
    found = pd.concat(list(inspect_new(images.listing, images, nothing, limits, 2)))
    return images, build_manifest(images.listing, found, limits, "here")


def test_equal_files_have_one_row_a_view_and_one_line_of_the_sheet(
    image_folder: Path, parameters: AugmentationParameters, features: FeatureParameters
) -> None:
    for number in range(3):
        (image_folder / "blue" / f"copy{number}.png").write_bytes((image_folder / "blue" / "00000.png").read_bytes())
    images, manifest = inspected(image_folder)
    views = list_views(manifest, parameters)
    assert not views.duplicated(["sha256", "view"]).any()
    assert views.groupby("view").size().to_dict() == {1: 30, 2: 30, 3: 4}
    sheet = draw_sheet(images, manifest, views, parameters, features)
    captions = [axes.get_xlabel() for axes in sheet.axes]
    assert captions == [
        text for label in ("blue", "green", "red", "blue") for text in (label, "view 1", "view 2", "view 3")
    ]


def test_a_file_that_changed_since_it_was_inspected_is_named(
    image_folder: Path, parameters: AugmentationParameters, features: FeatureParameters
) -> None:
    images, manifest = inspected(image_folder)
    (image_folder / "blue" / "00000.png").write_bytes(image_bytes(77))
    with pytest.raises(InputError, match=r"blue/00000\.png changed after it was inspected"):
        draw_sheet(images, manifest, list_views(manifest, parameters), parameters, features)
