from __future__ import annotations

import os
from pathlib import Path

import pytest
from kedro.io import DatasetError

from tests.conftest import fill, image_bytes
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.schemas import TEST, TRAIN, VAL, ImageStore


def load(path: Path, layout: str = "auto") -> ImageStore:
    return ImageFolderDataset(path=str(path), layout=layout).load()


def test_each_subfolder_is_a_class_and_bytes_are_read_when_asked_for(image_folder: Path) -> None:
    images = load(image_folder)
    assert images.layout == "folders"
    assert images.listing.groupby("label").size().to_dict() == {"blue": 10, "green": 10, "red": 10}
    assert images["red/02003.png"] == (image_folder / "red/02003.png").read_bytes()


def test_hidden_and_empty_folders_and_loose_files_are_no_classes(image_folder: Path) -> None:
    (image_folder / ".git").mkdir()
    (image_folder / ".git" / "x.png").write_bytes(b"x")
    (image_folder / "empty").mkdir()
    (image_folder / "only_hidden").mkdir()
    (image_folder / "only_hidden" / ".DS_Store").write_bytes(b"x")
    (image_folder / "README.txt").write_text("read me")
    (image_folder / "red" / ".hidden.png").write_bytes(b"x")
    assert len(load(image_folder)) == 30


def test_files_in_deeper_folders_belong_to_the_class_at_the_top(image_folder: Path) -> None:
    (image_folder / "red" / "2024" / "may").mkdir(parents=True)
    (image_folder / "red" / "2024" / "may" / "UPPER.PNG").write_bytes(image_bytes(7))
    images = load(image_folder)
    assert images.listing.set_index("image_id").loc["red/2024/may/UPPER.PNG", "label"] == "red"


@pytest.mark.parametrize("name", ["Überraschung 🖼️.png", "a b'c\".png", "x" * 200 + ".png", "back\\slash.png", "-r.png"])
def test_odd_names_are_read_right(image_folder: Path, name: str) -> None:
    (image_folder / "red" / name).write_bytes(b"content of " + name.encode())
    images = load(image_folder)
    (image_id,) = [each for each in images if each not in {*load_ids(image_folder, "png")}] or [f"red/{name}"]
    assert images[image_id] == b"content of " + name.encode()


def load_ids(folder: Path, suffix: str) -> list[str]:
    return [f"{path.parent.name}/{path.name}" for path in folder.rglob(f"0*.{suffix}")]


def test_names_that_are_not_utf8_are_read_right(image_folder: Path) -> None:
    raw = os.fsencode(image_folder / "red") + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(b"latin")
    assert load(image_folder)["red/caf\\xe9.png"] == b"latin"


def test_links_are_followed_and_those_that_lead_nowhere_are_named(image_folder: Path) -> None:
    red = image_folder / "red"
    (red / "good.png").symlink_to(red / "02000.png")
    (red / "round").symlink_to(image_folder)
    (red / "loop_a.png").symlink_to(red / "loop_b.png")
    (red / "loop_b.png").symlink_to(red / "loop_a.png")
    (red / "gone.png").symlink_to(red / "nothing.png")
    errors = load(image_folder).listing.set_index("image_id")["error"]
    assert errors["red/good.png"] == ""
    assert errors["red/loop_a.png"] == "link that loops"
    assert errors["red/gone.png"] == "file not found"
    assert errors["red/round/red"] == "link that loops"


def test_pre_split_folders_are_recognised(tmp_path: Path) -> None:
    for name in ("train", "Validation", "test"):
        fill(tmp_path / name, 2)
    images = load(tmp_path)
    assert images.layout == "split"
    assert images.listing.groupby("given_split").size().to_dict() == {TRAIN: 6, VAL: 6, TEST: 6}
    assert "train/red/02000.png" in set(images)


def test_a_folder_that_may_be_either_is_refused_unless_the_layout_is_said(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        fill(tmp_path / name, 2)
    with pytest.raises(DatasetError, match=r"test, train look like splits, but extra do not.*layout=split"):
        load(tmp_path)
    assert set(load(tmp_path, "folders").listing["label"]) == {"train", "test", "extra"}


def test_classes_called_train_and_bus_are_classes(tmp_path: Path) -> None:
    for name in ("train", "bus"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(image_bytes(1))
    assert load(tmp_path).layout == "folders"


def test_a_table_names_paths_labels_groups_and_splits(image_folder: Path) -> None:
    table = image_folder / "labels.csv"
    table.write_text(
        "Path,label,group,split\nred/02000.png,007,dog1,train\nblue/00000.png,NA,dog2,test\ngone.png,NA,,val\n"
    )
    listing = load(table).listing
    assert listing["label"].tolist() == ["007", "NA", "NA"]
    assert listing["group"].tolist()[:2] == ["dog1", "dog2"]
    assert listing["given_split"].tolist() == [TRAIN, TEST, VAL]
    assert listing["error"].tolist() == ["", "", "file not found"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,label\na.png,x\n", "no column path; found file, label"),
        ("path,label\na.png,x\na.png,y\n", "1 paths occur twice, first 'a.png'"),
        ("path,label\na.png,x\nb.png,\n", "1 rows have no label, first row 3"),
        ("path,label,split\na.png,x,holdout\n", "split 'holdout' of a.png"),
    ],
)
def test_a_wrong_table_is_refused_by_its_name_and_the_reason(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "table.csv").write_text(content)
    with pytest.raises(DatasetError, match=message) as caught:
        load(tmp_path / "table.csv")
    assert "table.csv" in str(caught.value)


@pytest.mark.parametrize(("path", "message"), [(None, "images=DIR"), ("/no/such/folder", "/no/such/folder")])
def test_missing_images_are_named_with_the_way_out(path: str | None, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        ImageFolderDataset(path=path).load()


def test_a_folder_without_class_folders_says_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(image_bytes(1))
    with pytest.raises(DatasetError, match="one subfolder a class"):
        load(tmp_path)


def test_saved_images_load_again_and_what_is_no_longer_there_goes(tmp_path: Path) -> None:
    dataset = ImageFolderDataset(path=str(tmp_path / "made"))
    dataset.save({"a/1.png": b"one", "a/2.png": b"two"}.items())
    dataset.save({"a/1.png": b"one", "b/3.png": b"three"}.items())
    assert dict(dataset.load().items()) == {"a/1.png": b"one", "b/3.png": b"three"}


def test_a_folder_of_the_users_is_never_written_to(image_folder: Path) -> None:
    with pytest.raises(DatasetError, match="did not write"):
        ImageFolderDataset(path=str(image_folder)).save({"a/1.png": b"one"}.items())
    assert len(load(image_folder)) == 30
