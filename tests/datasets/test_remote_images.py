from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import fsspec
import pytest
from kedro.io import DatasetError

from tests.conftest import fill, image_bytes
from tests.datasets.test_remote import machine  # noqa: F401 - a fixture
from topwork.core.columns import TEST, TRAIN
from topwork.data.manifest import new_since
from topwork.datasets.image_cache import ImageCache
from topwork.datasets.image_folder import ImageFolderDataset

URL = "memory://bucket/images"


def upload(folder: Path, url: str = URL) -> None:
    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"{url}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def load(url: str = URL, layout: str = "auto", **options: Any) -> Any:
    return ImageFolderDataset(path=url, layout=layout, **options).load()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the images that are read from the storage."""
    seen: list[str] = []
    memory = type(fsspec.filesystem("memory"))
    cat_file = memory.cat_file

    def noted(self: Any, url: str, *arguments: Any, **options: Any) -> bytes:
        seen.append(url)
        return bytes(cat_file(self, url, *arguments, **options))

    monkeypatch.setattr(memory, "cat_file", noted)
    return seen


@pytest.mark.parametrize("name", ["ü 🖼️.png", "a b'c\".png", "back\\slash.png", "-r.png", "100%.png", "a?b#c.png"])
def test_the_listing_is_that_of_the_same_files_in_a_folder(image_folder: Path, name: str) -> None:
    (image_folder / "red" / name).write_bytes(b"odd")
    (image_folder / "red" / "2024" / "may").mkdir(parents=True)
    (image_folder / "red" / "2024" / "may" / "1.png").write_bytes(image_bytes(7))
    for litter in ("red/.hidden.png", ".git/x.png", "loose.txt", "only/.DS_Store", "red/Thumbs.db"):
        (image_folder / litter).parent.mkdir(exist_ok=True)
        (image_folder / litter).write_bytes(b"x")
    upload(image_folder)
    here, there = load(str(image_folder)), load()
    same = ["image_id", "label", "group", "given_split", "size", "error"]
    assert there.listing[same].to_dict() == here.listing[same].to_dict()
    assert there.source == URL
    assert there.listing["path"].iloc[0] == f"{URL}/{there.listing['image_id'].iloc[0]}"
    assert [there[image_id] for image_id in there] == [here[image_id] for image_id in here]


def test_split_folders_are_recognised(tmp_path: Path) -> None:
    fill(tmp_path / "train", 3)
    fill(tmp_path / "test", 2, first_seed=50)
    upload(tmp_path)
    images = load()
    assert images.layout == "split"
    assert images.listing["given_split"].value_counts().to_dict() == {TRAIN: 9, TEST: 6}


def test_a_table_names_files_beside_it_and_elsewhere_in_the_bucket(image_folder: Path) -> None:
    upload(image_folder)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("memory://bucket/other/x.png", b"other")
    memory.pipe_file(f"{URL}/t.csv", b"path,label\nred/02000.png,r\n../other/x.png,b\nred/none.png,b\n")
    images = load(f"{URL}/t.csv")
    assert images.listing["error"].tolist() == ["", "", "file not found"]
    assert images["red/02000.png"] == (image_folder / "red/02000.png").read_bytes()
    assert images["../other/x.png"] == b"other"


def test_messages_name_the_url() -> None:
    fsspec.filesystem("memory").pipe_file(f"{URL}/loose.png", b"x")
    with pytest.raises(DatasetError, match=r"images=memory://bucket/images: no files in class folders \(1 files lie"):
        load()
    with pytest.raises(DatasetError, match="new_images=memory://bucket/no: there is no such folder or table"):
        load("memory://bucket/no", "flat", parameter="new_images")


def test_an_object_that_changed_is_new_and_all_others_are_not(image_folder: Path) -> None:
    upload(image_folder)
    before = load().listing.assign(rules="", reason="")
    assert new_since(load().listing.assign(rules="", reason=""), before).empty
    fsspec.filesystem("memory").pipe_file(f"{URL}/red/02000.png", image_bytes(99))
    images = load()
    assert new_since(images.listing.assign(rules="", reason=""), before)["image_id"].tolist() == ["red/02000.png"]
    assert images["red/02000.png"] == image_bytes(99)


def test_an_image_is_read_from_the_storage_once_by_all_runs(image_folder: Path, reads: list[str]) -> None:
    upload(image_folder)
    for _ in range(2):
        images = load()
        assert all(images[image_id] for image_id in images)
    assert len(reads) == len(set(reads)) == 30


def test_without_a_cache_images_are_read_each_time(image_folder: Path, reads: list[str]) -> None:
    upload(image_folder)
    images = load(cache_gigabytes=0)
    assert images["red/02000.png"] == images["red/02000.png"]
    assert len(reads) == 2


def test_some_images_are_small_to_send_and_read_where_they_arrive(image_folder: Path, reads: list[str]) -> None:
    upload(image_folder)
    sent = pickle.dumps(load().only(["red/02000.png"]))
    assert len(sent) < 3000
    assert pickle.loads(sent)["red/02000.png"] == (image_folder / "red/02000.png").read_bytes()
    assert reads == [f"{URL}/red/02000.png"]


def test_rendered_images_are_written_once_and_others_removed(reads: list[str]) -> None:
    dataset = ImageFolderDataset(path=URL)
    dataset.save(iter([("a/1.png", b"one"), ("a/2.png", b"two")]))
    dataset.save(iter([("a/1.png", b"one"), ("b/3.png", b"three")]))
    assert sorted(load().listing["image_id"]) == ["a/1.png", "b/3.png"]
    fsspec.filesystem("memory").pipe_file("memory://bucket/mine/x.png", b"x")
    with pytest.raises(DatasetError, match="holds files that Topwork did not write"):
        ImageFolderDataset(path="memory://bucket/mine").save(iter([("a/1.png", b"one")]))


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.rglob("*.image")}


def test_what_was_not_used_for_the_longest_time_leaves_the_cache(tmp_path: Path) -> None:
    import os

    cache = ImageCache(tmp_path, 1000)
    for number in range(50):
        cache.put(f"{number:02d}", b"x" * 20)
        os.utime(cache._path(f"{number:02d}"), (number, number))
    os.utime(cache._path("00"), (99, 99))  # as if it had been read
    cache.put("new", b"x" * 20)
    left = names(tmp_path)
    assert {"00", "new", "49"} <= left
    assert not {"01", "02", "03"} & left
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.image")) <= 1000


def test_a_cache_that_was_removed_or_cannot_be_written_is_a_miss(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "file" / "x", 1000)
    (tmp_path / "file").write_text("in the way")
    cache.put("a", b"x")
    assert cache.get("a") is None


def test_processes_clean_one_cache_at_once(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def work(first: int) -> None:
        cache = ImageCache(tmp_path, 2000)
        for number in range(100):
            name = f"{(first + number * 7) % 150:03d}"
            if (content := cache.get(name)) is None:
                cache.put(name, name.encode() * 10)
            else:
                assert content == name.encode() * 10

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, (0, 40, 80, 120)))
    ImageCache(tmp_path, 2000).put("last", b"x" * 40)
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.image")) <= 2000
