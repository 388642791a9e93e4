from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.conftest import image_bytes
from topwork.core.columns import INSPECTION_COLUMNS, MANIFEST_COLUMNS
from topwork.core.errors import InputError
from topwork.core.stores import ImageStore
from topwork.data.manifest import (
    Limits,
    build_manifest,
    check_listing,
    describe_manifest,
    inspect_new,
)
from topwork.datasets.image_folder import ImageFolderDataset

NOTHING = pd.DataFrame(columns=pd.Index(INSPECTION_COLUMNS))
LIMITS = Limits(max_pixels=1_000_000, max_bytes=1_000_000)


def load(folder: Path) -> ImageStore:
    return ImageFolderDataset(path=str(folder)).load()


def inspected(images: ImageStore, known: pd.DataFrame = NOTHING, limits: Limits = LIMITS) -> pd.DataFrame:
    chunks = list(inspect_new(images.listing, images, known, limits, threads=2))
    return pd.concat(chunks, ignore_index=True) if chunks else NOTHING


def manifest_of(folder: Path) -> pd.DataFrame:
    images = load(folder)
    return build_manifest(images.listing, inspected(images), LIMITS, str(folder)).set_index("image_id")


def test_the_manifest_has_a_row_for_every_file_and_each_row_is_its_own(image_folder: Path) -> None:
    (image_folder / "red" / "notes.txt").write_text("not an image")
    (image_folder / "red" / "00a.png").write_bytes(b"")
    manifest = manifest_of(image_folder)
    assert tuple(manifest.reset_index().columns) == MANIFEST_COLUMNS
    assert manifest.loc["red/notes.txt", ["status", "reason"]].tolist() == [
        "rejected",
        "not an image in a known format",
    ]
    assert manifest.loc["red/00a.png", "reason"] == "empty file"
    for image_id, row in manifest[manifest["status"] == "ok"].iterrows():
        assert row["path"] == str(image_folder / str(image_id))
        assert row["label"] == str(image_id).split("/")[0]
        assert (row["width"], row["height"], row["format"]) == (40, 30, "PNG")
    assert describe_manifest(manifest) == (
        "30 images of 3 classes; 2 files rejected: 1 empty file, 1 not an image in a known format"
    )


def test_unchanged_files_are_not_looked_at_again(image_folder: Path) -> None:
    first = inspected(load(image_folder))
    (image_folder / "red" / "new.png").write_bytes(image_bytes(77))
    (image_folder / "blue" / "00003.png").write_bytes(image_bytes(78))
    again = inspected(load(image_folder), first)
    assert sorted(Path(path).name for path in again["path"]) == ["00003.png", "new.png"]


def test_another_limit_looks_at_everything_again(image_folder: Path) -> None:
    images = load(image_folder)
    again = inspected(images, inspected(images), limits=Limits(100, 1_000_000))
    assert len(again) == 30
    assert set(again["reason"]) == {"too many pixels (40 x 30, limit 100)"}


def test_equal_bytes_share_a_group(image_folder: Path) -> None:
    (image_folder / "red" / "copy.png").write_bytes((image_folder / "red" / "02004.png").read_bytes())
    group = manifest_of(image_folder)["group"]
    assert group["red/copy.png"] == group["red/02004.png"]
    assert group.nunique() == 30


def test_equal_bytes_under_two_labels_are_rejected_on_both_sides(image_folder: Path) -> None:
    (image_folder / "blue" / "copy.png").write_bytes((image_folder / "red" / "02004.png").read_bytes())
    manifest = manifest_of(image_folder)
    torn = manifest[manifest["status"] == "rejected"]
    assert torn.index.tolist() == ["blue/copy.png", "red/02004.png"]
    assert set(torn["reason"]) == {"same bytes under another label"}


def test_the_users_groups_are_joined_where_they_share_bytes(image_folder: Path) -> None:
    (image_folder / "red" / "copy.png").write_bytes((image_folder / "red" / "02001.png").read_bytes())
    names = {"02000.png": "anna", "02001.png": "anna", "copy.png": "bert", "02002.png": "bert", "02003.png": "cleo"}
    names |= {"02004.png": "dora"}
    rows = [f"red/{name},red,{group}" for name, group in names.items()]
    rows += [f"blue/0000{number}.png,blue," for number in range(3)]
    (image_folder / "table.csv").write_text("path,label,group\n" + "\n".join(rows))
    group = manifest_of(image_folder / "table.csv")["group"]
    assert {group[f"red/{name}"] for name in ("02000.png", "02001.png", "copy.png", "02002.png")} == {"anna"}
    assert group["red/02003.png"] == "cleo"
    assert group.filter(like="blue").nunique() == 3


def test_a_class_of_too_few_groups_is_refused_with_the_images(image_folder: Path) -> None:
    rows = [f"red/0200{number}.png,red,{'anna' if number < 5 else 'bert'}" for number in range(8)]
    rows += [f"blue/0000{number}.png,blue," for number in range(3)]
    (image_folder / "table.csv").write_text("path,label,group\n" + "\n".join(rows))
    with pytest.raises(InputError, match=r"too few different images or groups to split: 'red' has 2"):
        manifest_of(image_folder / "table.csv")


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"a": 5}, "only one class .*'a'.* at least two"),
        ({"a": 5, "b": 2, "c": 1}, "'b' has 2, 'c' has 1.*at least 3"),
    ],
)
def test_a_folder_that_cannot_be_learnt_from_is_refused_before_a_file_is_opened(
    counts: dict[str, int], message: str
) -> None:
    labels = [label for label, count in counts.items() for _ in range(count)]
    listing = pd.DataFrame({"label": labels, "given_split": ""})
    with pytest.raises(InputError, match=message) as caught:
        check_listing(listing, "/some/folder")
    assert "/some/folder" in str(caught.value)


def test_a_class_whose_files_are_mostly_broken_is_refused(image_folder: Path) -> None:
    for path in sorted((image_folder / "red").iterdir())[:8]:
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="too few usable images to split: 'red' has 2"):
        manifest_of(image_folder)


def listing_of(*rows: tuple[str, str]) -> pd.DataFrame:
    """Ten files of each label in each given split."""
    return pd.DataFrame([row for row in rows for _ in range(10)], columns=["label", "given_split"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        pytest.param(
            [("Cat", "train"), ("dog", "train"), ("cat", "test"), ("dog", "test")],
            "spelt in several ways: 'Cat' and 'cat'",
            id="small letters in one split",
        ),
        pytest.param(
            [("caf\u00e9", "train"), ("bar", "train"), ("cafe\u0301", "test"), ("bar", "test")],
            r"'cafe\u0301' \(with combining accents\) and 'caf\u00e9'",
            id="another composition of accents in one split",
        ),
        pytest.param([("caf\u00e9", ""), ("cafe\u0301", "")], "spelt in several ways", id="two compositions"),
        pytest.param(
            [("a", "train"), ("b", "train"), ("c", "test"), ("d", "test")],
            "classes with images in test alone.*: 'c', 'd'.*Add some of their images to train",
            id="nothing to learn from",
        ),
        pytest.param(
            [("a", "train"), ("b", "train"), ("c", "val")], "images in val alone.*: 'c'", id="val is the test split"
        ),
    ],
)
def test_each_cause_why_classes_cannot_be_learnt_is_told_by_its_name(rows: list[tuple[str, str]], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        check_listing(listing_of(*rows), "/some/folder")
    assert str(raised.value).startswith("images=/some/folder: ")


def test_letters_large_and_small_may_be_classes() -> None:
    check_listing(listing_of(("A", "train"), ("a", "train"), ("A", "test"), ("a", "test")), "/some/folder")
    check_listing(listing_of(("A", ""), ("a", "")), "/some/folder")


def test_where_no_file_is_an_image_the_commonest_reason_is_told_with_an_example(tmp_path: Path) -> None:
    for number in range(6):
        (tmp_path / f"class{number % 2}").mkdir(exist_ok=True)
        (tmp_path / f"class{number % 2}" / f"{number}.jpg").write_bytes(b"" if number == 0 else b"text")
    message = (
        r"none of 6 files is a usable image; 5 are rejected as 'not an image in a known format', for instance .*2.jpg"
    )
    with pytest.raises(InputError, match=message):
        manifest_of(tmp_path)
