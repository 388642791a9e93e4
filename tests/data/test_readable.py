from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import encode
from tests.data.test_manifest import inspected, load, manifest_of
from tests.hostile import picture
from topwork.core.errors import InputError
from topwork.data import readable
from topwork.data.manifest import describe_manifest
from topwork.images import decode

HEIC = encode(picture(), "HEIF")
WAY_OUT = r"pip install 'topwork\[heif\]'"


@pytest.fixture
def no_plugin() -> Iterator[None]:
    """As if pi-heif were not installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "load_plugin", lambda: False)
        patch.setattr(readable, "has_plugin", lambda: False)
        yield


def add_photos(folder: Path, count: int, ending: str = "HEIC") -> None:
    for number in range(count):
        (folder / "red" / f"IMG_{number}.{ending}").write_bytes(HEIC + bytes([number]))


@pytest.mark.usefixtures("no_plugin")
def test_a_heic_without_the_plugin_is_rejected_and_the_way_out_is_told(image_folder: Path) -> None:
    add_photos(image_folder, 2)
    manifest = manifest_of(image_folder)
    assert manifest.loc["red/IMG_0.HEIC", "reason"] == "HEIC needs `pip install 'topwork[heif]'`"
    assert "2 HEIC needs `pip install 'topwork[heif]'`" in describe_manifest(manifest)


@pytest.mark.usefixtures("no_plugin")
def test_where_most_files_are_heic_nothing_is_opened_without_the_plugin(image_folder: Path) -> None:
    add_photos(image_folder, 31)
    with pytest.raises(InputError, match=f"31 HEIC photographs among 61 files.*{WAY_OUT}"):
        readable.check_names(load(image_folder).listing["path"], f"images={image_folder}")


@pytest.mark.usefixtures("no_plugin")
def test_where_most_files_are_heic_under_another_name_they_are_told_of_too(image_folder: Path) -> None:
    shutil.rmtree(image_folder / "blue")
    add_photos(image_folder, 21, "jpg")
    with pytest.raises(InputError, match=f"21 HEIC photographs among 41 files.*{WAY_OUT}"):
        manifest_of(image_folder)


def test_with_the_plugin_they_are_looked_at_again(image_folder: Path, no_plugin: None) -> None:
    add_photos(image_folder, 3)
    before = inspected(load(image_folder))
    assert inspected(load(image_folder), before).empty
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "load_plugin", lambda: True)
        patch.setattr(readable, "has_plugin", lambda: True)
        again = inspected(load(image_folder), before)
    assert again["status"].tolist() == ["ok"] * 3
