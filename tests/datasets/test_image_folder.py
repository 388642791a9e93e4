from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from tests.conftest import fill, image_bytes
from topwork.core.columns import TEST, TRAIN, VAL
from topwork.core.stores import ImageStore
from topwork.datasets.image_folder import ImageFolderDataset


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


def put(folder: Path, *names: str) -> Path:
    """Small files of these relative names."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"{number}".encode())
    return folder


def test_a_folder_that_may_be_either_is_refused_unless_the_layout_is_said(tmp_path: Path) -> None:
    for name in ("train", "test", "extra"):
        fill(tmp_path / name, 2)
    with pytest.raises(DatasetError, match=r"test, train look like splits, but extra do not.*layout=split"):
        load(tmp_path)
    assert set(load(tmp_path, "folders").listing["label"]) == {"train", "test", "extra"}
    assert set(load(tmp_path, "split").listing["given_split"]) == {TRAIN, TEST}


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(("seg_train", "seg_test"), id="words beside them"),
        pytest.param(("training_set", "test_set"), id="sets"),
        pytest.param(("train2017", "val-2017"), id="years"),
        pytest.param(("Training Data", "TESTING"), id="capitals"),
    ],
)
def test_splits_are_recognised_by_the_words_in_their_names(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        fill(tmp_path / name, 2)
    images = load(tmp_path)
    assert images.layout == "split"
    assert set(images.listing["label"]) == {"blue", "green", "red"}
    assert TRAIN in set(images.listing["given_split"])


def test_folders_that_archives_wrap_around_are_looked_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("seg_train", "seg_test"):
        fill(tmp_path / "archive" / split / split, 2)
    put(tmp_path / "archive", "seg_pred/seg_pred/1.jpg", "seg_pred/seg_pred/2.jpg")
    images = load(tmp_path)
    assert images.listing.groupby("given_split").size().to_dict() == {TRAIN: 6, TEST: 6}
    assert "archive/seg_train/seg_train/red/02000.png" in set(images)
    assert f"new_images={tmp_path / 'archive/seg_pred/seg_pred'}" in caplog.text
    assert "holds nothing but archive" in caplog.text


def test_a_test_folder_without_labels_is_left_out_and_pointed_to_prediction(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path / "train", 3)
    put(tmp_path, "test/1.png", "test/2.png")
    images = load(tmp_path)
    assert images.layout == "folders"  # nothing is held out: Topwork draws its own test split
    assert images.listing.groupby("label").size().to_dict() == {"blue": 3, "green": 3, "red": 3}
    assert set(images.listing["given_split"]) == {""}
    assert f"predict for them with new_images={tmp_path / 'test'}" in caplog.text


def test_splits_without_class_folders_are_never_taken_for_classes(tmp_path: Path) -> None:
    put(tmp_path, "train/1.png", "test/1.png")
    with pytest.raises(DatasetError, match=r"test, train look like splits, but hold no class folders.*layout=folders"):
        load(tmp_path)
    assert set(load(tmp_path, "folders").listing["label"]) == {"train", "test"}


def test_two_folders_for_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "training", "test"):
        fill(tmp_path / name, 1)
    with pytest.raises(DatasetError, match="two of them mean the same"):
        load(tmp_path)


@pytest.mark.parametrize(
    "litter",
    [
        "__MACOSX/train/red/._1.png",
        "train/red/@eaDir/1.png/SYNOPHOTO_THUMB_S.jpg",
        "#recycle/red/1.png",
        "$RECYCLE.BIN/S-1-5/1.png",
        "System Volume Information/x/1.png",
        "lost+found/1/1.png",
        ".ipynb_checkpoints/a/1.png",
        "train/red/Thumbs.db",
        "train/red/desktop.ini",
    ],
)
def test_what_other_machines_leave_lying_about_is_neither_class_nor_image(tmp_path: Path, litter: str) -> None:
    for split in ("train", "test"):
        fill(tmp_path / split, 2)
    before = load(tmp_path).listing["image_id"].tolist()
    put(tmp_path, litter)
    assert load(tmp_path).listing["image_id"].tolist() == before
    flat = ImageFolderDataset(path=str(tmp_path), layout="flat").load()
    assert len(flat) == len(before)


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
    "content",
    [
        pytest.param("\ufeffpath,label\na.png,x\nb.png,y\n".encode(), id="byte-order mark"),
        pytest.param("path,label\na.png,x\nb.png,y\n".encode("utf-16"), id="UTF-16, as Excel's Unicode text"),
        pytest.param(b"path, label \n a.png , x \nb.png,\ty\n", id="blanks around cells"),
        pytest.param(b"path,label,\na.png,x,\nb.png,y,,\n", id="separators at the end"),
        pytest.param(b"\n\npath;label\r\n\r\na.png;x\r\nb.png;y\r\n", id="semicolons and empty lines"),
        pytest.param(b'PATH\tLabel\n"a.png"\t"x"\nb.png\ty\n', id="tabs, capitals and quotes"),
    ],
)
def test_tables_are_read_as_people_write_them(tmp_path: Path, content: bytes) -> None:
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "table.csv").write_bytes(content)
    listing = load(tmp_path / "table.csv").listing
    assert listing[["image_id", "label", "error"]].to_numpy().tolist() == [["a.png", "x", ""], ["b.png", "y", ""]]


def test_paths_with_backslashes_are_found(tmp_path: Path) -> None:
    put(tmp_path, "red/a.png", "back\\slash.png")
    (tmp_path / "table.csv").write_text("path,label\nred\\a.png,x\nback\\slash.png,y\n")
    listing = load(tmp_path / "table.csv").listing
    assert listing["error"].tolist() == ["", ""]
    assert Path(listing["path"][0]) == tmp_path / "red" / "a.png"


def test_a_parquet_table_may_have_nullable_numbers_and_categories(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "b.png")
    table = pd.DataFrame(
        {
            "path": pd.Categorical(["a.png", "b.png"]),
            "label": pd.array([7, 8], dtype="Int64"),
            "group": pd.array([1, None], dtype="Int64"),
            "split": pd.Categorical(["train", None]),
        }
    )
    table.to_parquet(tmp_path / "table.parquet")
    listing = load(tmp_path / "table.parquet").listing
    assert listing["label"].tolist() == ["7", "8"]
    assert listing["group"].fillna("").tolist() == ["1", ""]
    assert listing["given_split"].tolist() == [TRAIN, ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("path,label\n", "has no rows"),
        ("path,label\na.png,x,y,z\n", "row 2 has 4 cells, the first row 2"),
        ("file,label\na.png,x\n", "no column path; found file, label"),
        ("path,labels\na.png,x|y\n", "column labels. Topwork knows one label an image"),
        ("path,label\na.png,x|y\nb.png,x\n", "row 2: the label 'x|y' looks like several.*yes or no"),
        ("path,label\na.png,x\nb.png,y\nc.png,x; y\n", "row 4: the label 'x; y' looks like several.*yes or no"),
        ('path,label\na.png,"x,y"\nb.png,x\n', "row 2: the label 'x,y' looks like several; if it is one class, name"),
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


@pytest.mark.parametrize("names", [("left|right", "up"), ("salt, pepper", "salt, sugar"), ("a;b", "c")])
def test_a_mark_in_the_name_of_one_class_is_no_list_of_labels(tmp_path: Path, names: tuple[str, str]) -> None:
    put(tmp_path, "a.png", "b.png")
    (tmp_path / "table.csv").write_text('path,label\na.png,"{}"\nb.png,"{}"\n'.format(*names))
    assert load(tmp_path / "table.csv").listing["label"].tolist() == list(names)


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


@pytest.mark.parametrize(("name", "content"), [("t.csv", b"path,label\n\xff\xfe\xfd,x\n"), ("t.parquet", b"PAR1")])
def test_a_file_that_is_no_table_is_refused_in_a_line(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=f"images={tmp_path / name}: (is not UTF-8|cannot be read as Parquet)"):
        load(tmp_path / name)
