from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import COLOURS, fill, image_bytes
from topwork.core.errors import InputError
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.run.new_image_checks import check_same_images


def learnt_from(folder: Path) -> pd.DataFrame:
    images = ImageFolderDataset(path=str(folder)).load()
    return pd.DataFrame({"image_id": list(images), "sha256": [sha256(images[name]).hexdigest() for name in images]})


def check(folder: Path, learnt: pd.DataFrame) -> None:
    check_same_images(ImageFolderDataset(path=str(folder)).load(), learnt)


def test_the_same_images_elsewhere_and_more_of_them_are_what_was_learnt(image_folder: Path, tmp_path: Path) -> None:
    more = fill(tmp_path / "more", 12)
    check(more, learnt_from(image_folder))


def test_an_image_that_is_not_there_is_named(image_folder: Path) -> None:
    learnt = learnt_from(image_folder)
    (image_folder / "red" / "02003.png").unlink()
    with pytest.raises(
        InputError, match=r"images=.*1 of 30 have other names, or are not there, first red/02003.png.*data=DIR"
    ):
        check(image_folder, learnt)


def test_other_images_of_the_same_names_are_found_by_their_contents(image_folder: Path) -> None:
    learnt = learnt_from(image_folder)
    for path in image_folder.rglob("*.png"):
        path.write_bytes(image_bytes(9000, COLOURS["red"]))
    with pytest.raises(InputError, match=r"blue/00000.png has another content"):
        check(image_folder, learnt)
