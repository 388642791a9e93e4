from __future__ import annotations

import logging
import pickle
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from tests.datasets.test_feature_store import KEY, sha, shard
from topwork.core.errors import InputError, MachineError
from topwork.datasets import remote
from topwork.datasets.appended_table import AppendedTableDataset
from topwork.datasets.atomic import appearing_together, appearing_whole
from topwork.datasets.checkpoints import FolderCheckpointStore
from topwork.datasets.feature_store import FolderFeatureStore
from topwork.datasets.picture import PictureDataset
from topwork.datasets.picture_folder import PictureFolderDataset
from topwork.datasets.remote import at_hand, check_place, described, exists, in_urls, place, set_up
from topwork.datasets.report import ReportDataset
from topwork.datasets.table import TableDataset

URL = "memory://bucket/data"


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """`machine(name)` goes on at another machine, with a cache of its own; the storage is empty at first."""
    monkeypatch.setattr(remote, "_storage", remote._Storage())
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    set_up(str(tmp_path / "here"), {})
    yield lambda name: set_up(str(tmp_path / name), {})
    memory.store.clear()


@pytest.fixture
def fetches(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The URLs of the files that are fetched."""
    seen: list[str] = []
    memory = type(fsspec.filesystem("memory"))
    get_file = memory.get_file

    def noted(self: Any, url: str, *arguments: Any, **options: Any) -> None:
        seen.append(url)
        get_file(self, url, *arguments, **options)

    monkeypatch.setattr(memory, "get_file", noted)
    return seen


def write(url: str, text: str) -> None:
    with appearing_whole(place(url)) as partial:
        partial.write_text(text)


def test_what_is_written_on_one_machine_is_read_on_another(machine: Callable[[str], None]) -> None:
    ReportDataset(filepath=f"{URL}/report.json").save({"a": 1})
    table = TableDataset(filepath=f"{URL}/table.parquet")
    table.save(pd.DataFrame({"a": [1, 2]}))
    machine("there")
    there = TableDataset(filepath=f"{URL}/./table.parquet")
    assert ReportDataset(filepath=f"{URL}/report.json").load() == {"a": 1}
    assert there.exists()
    assert there.load()["a"].tolist() == [1, 2]


def test_a_file_is_fetched_only_if_it_is_another_one_in_the_storage(
    machine: Callable[[str], None], fetches: list[str]
) -> None:
    write(f"{URL}/a.txt", "old")
    assert at_hand(place(f"{URL}/a.txt")).read_text() == "old"
    assert fetches == []
    machine("there")
    write(f"{URL}/a.txt", "new")
    machine("here")
    for _ in range(2):
        assert at_hand(place(f"{URL}/a.txt")).read_text() == "new"
    assert fetches == [f"{URL}/a.txt"]


def test_a_copy_that_was_changed_here_is_fetched_again() -> None:
    write(f"{URL}/a.txt", "content")
    place(f"{URL}/a.txt").write_text("damaged")
    assert at_hand(place(f"{URL}/a.txt")).read_text() == "content"


def test_the_storage_decides_what_exists(machine: Callable[[str], None]) -> None:
    write(f"{URL}/a.txt", "text")
    path = place(f"{URL}/a.txt")
    assert exists(path)
    assert exists(path.parent)
    machine("there")
    remote.remove(place(f"{URL}/a.txt"))
    machine("here")
    assert not exists(path)
    with pytest.raises(FileNotFoundError, match=f"{URL}/a.txt"):
        at_hand(path)
    remote.remove(path)
    assert not path.exists()


def test_a_put_that_fails_leaves_the_old_object_and_the_old_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"{URL}/a.txt", "old")

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionResetError("the line is cut")

    with monkeypatch.context() as patch:
        patch.setattr(type(fsspec.filesystem("memory")), "put_file", fails)
        with pytest.raises(MachineError, match=rf"{URL}/a\.txt: the storage does not answer.*the line is cut"):
            write(f"{URL}/a.txt", "new")
    assert place(f"{URL}/a.txt").read_text() == "old"
    assert at_hand(place(f"{URL}/a.txt")).read_text() == "old"
    assert not list(place(URL).glob(".*.partial"))


def test_a_block_that_fails_puts_nothing() -> None:
    paths = place(f"{URL}/a.txt"), place(f"{URL}/b.txt")
    with pytest.raises(ValueError, match="half"), appearing_together(*paths) as (first, _):
        first.write_text("half")
        raise ValueError("half")
    assert not exists(paths[0])


def test_a_folder_lists_what_the_storage_holds(machine: Callable[[str], None]) -> None:
    for name in ("b.txt", "a.txt", "c.csv", "one/a.txt", "one/two/a.txt"):
        write(f"{URL}/{name}", name)
    machine("there")
    folder = place(URL)
    assert remote.listed(folder, "*.txt") == [folder / "a.txt", folder / "b.txt"]
    assert (folder / "b.txt").read_text() == "b.txt"
    assert remote.listed(folder, "*/*.txt", fetched=False) == [folder / "one" / "a.txt"]
    assert not (folder / "one").exists()
    assert remote.listed(folder / "none", "*") == []


def test_feature_stores_of_two_machines_are_one(machine: Callable[[str], None]) -> None:
    FolderFeatureStore(place("memory://bucket/store")).put(shard(range(5)))
    machine("there")
    there = FolderFeatureStore(place("memory://bucket/store"))
    there.put(shard(range(5, 9)))
    machine("here")
    here = FolderFeatureStore(place("memory://bucket/store"))
    asked = [sha(number) for number in (8, 1)]
    assert here.get(KEY, asked)[:, 0].tolist() == there.get(KEY, asked)[:, 0].tolist() == [8, 1]
    assert [each["images"] for each in here.contents()] == [9]


def test_features_that_are_sent_to_another_process_are_read_there_from_the_storage(
    machine: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderFeatureStore(place("memory://bucket/store"))
    store.put(shard(range(5)))
    sent = pickle.dumps((store.rows(KEY, [sha(3), sha(4)]), store))
    monkeypatch.setattr(remote, "_storage", remote._Storage())  # of a process that has just begun
    for path in (store._folder / KEY.digest).glob("*.safetensors"):
        path.unlink()
    rows, again = pickle.loads(sent)
    assert rows[np.array([1, 0])][:, 0].tolist() == [4, 3]
    again.put(shard(range(5, 7)))
    assert store.missing(KEY, [sha(6), sha(7)]) == [sha(7)]


def test_checkpoints_are_kept_and_removed_in_the_storage(machine: Callable[[str], None]) -> None:
    store = FolderCheckpointStore(place(URL))
    for name in ("a", "b"):
        store.put(name, {"x": np.ones(3, np.float32)}, {"epoch": name})
    machine("there")
    there = FolderCheckpointStore(place(URL))
    there.keep_only(["b"])
    machine("here")
    assert store.get("a") is None
    assert [each["epoch"] for each in store.facts()] == ["b"]


def test_tables_that_grow_have_the_rows_of_all_machines(machine: Callable[[str], None]) -> None:
    def table() -> AppendedTableDataset:
        return AppendedTableDataset(path=f"{URL}/files", key="path", columns=["path", "size"])

    table().save(pd.DataFrame({"path": ["a", "b"], "size": [1, 1]}))
    machine("there")
    table().save(pd.DataFrame({"path": ["b"], "size": [2]}))
    machine("here")
    assert table().load().set_index("path")["size"].to_dict() == {"a": 1, "b": 2}


def test_figures_are_put_and_old_ones_go(machine: Callable[[str], None]) -> None:
    PictureDataset(filepath=f"{URL}/one.png").save(Figure())
    PictureFolderDataset(path=f"{URL}/sheets").save({"old": Figure(), "older": Figure()})
    PictureFolderDataset(path=f"{URL}/sheets").save({"new": Figure()})
    machine("there")
    assert PictureDataset(filepath=f"{URL}/one.png").preview()
    assert [path.name for path in remote.listed(place(f"{URL}/sheets"), "*")] == ["000 new.png"]


def test_ordinary_paths_stay_ordinary(tmp_path: Path) -> None:
    assert place("data/x") == Path("data/x")
    assert place("C:/data") == Path("C:/data")
    assert remote.mirror_of(tmp_path) is None
    assert described(tmp_path) == str(tmp_path)
    assert not remote.is_url("models:/name@champion")
    assert not remote.is_url("https://example.org/x")


def test_people_are_told_urls() -> None:
    path = place(f"{URL}/report.html")
    assert described(path) == f"{URL}/report.html (here: {path})"
    assert in_urls(f"{path} is damaged") == f"{URL}/report.html is damaged"


def test_one_bucket_on_two_servers_is_two_places() -> None:
    set_up(None, {"storage": {"endpoint_url": "http://one"}})
    one = place("s3://bucket/x")
    set_up(None, {"storage": {"endpoint_url": "http://two"}})
    assert place("s3://bucket/x") != one


def test_credentials_are_given_by_scheme_or_for_all_and_never_shown() -> None:
    set_up(None, {"s3": {"secret": "hush"}, "storage": {"token": "quiet"}, "dev": "no mapping"})
    for url, options in (("s3://bucket/x", {"secret": "hush"}), ("gs://bucket/x", {"token": "quiet"})):
        mirror = remote.mirror_of(place(url))
        assert mirror is not None
        assert mirror.options == options
        assert not {"hush", "quiet"} & {*repr(mirror).split(), *str(place(url)).split("/")}


def test_what_cannot_be_reached_is_said_by_its_parameter(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="images=memory://bucket/none: there is no such folder or table"):
        check_place("images", "memory://bucket/none", writes=False)
    with pytest.raises(InputError, match="data=s3://: names no bucket; expected s3://BUCKET/FOLDER"):
        check_place("data", "s3://", writes=True)
    with pytest.raises(InputError, match="data=odd://x/y: no storage of this kind is known"):
        check_place("data", "odd://x/y", writes=True)
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(InputError, match=r"store=gs://x/y: a package for gs:// is missing.*'topwork\[gcs\]'"):
        check_place("store", "gs://x/y", writes=True)


def test_refused_access_names_the_ways_to_give_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise PermissionError("Forbidden")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "pipe_file", refuses)
    with pytest.raises(InputError, match=r"^data=memory://bucket/x.*Forbidden.*conf/local/credentials\.yml"):
        check_place("data", "memory://bucket/x", writes=True)


def test_a_check_of_what_can_be_written_leaves_nothing() -> None:
    check_place("data", f"{URL}/new", writes=True)
    assert remote.listed(place(f"{URL}/new"), "*") == []


def test_a_run_in_a_storage_says_how_far_its_lock_goes(caplog: pytest.LogCaptureFixture) -> None:
    from topwork.run.locks import sole_run

    with caplog.at_level(logging.WARNING), sole_run(place(URL), "run"):
        assert f"{URL}: the lock is of this machine alone" in caplog.text
        with pytest.raises(InputError, match=f"data={URL}: another run"), sole_run(place(URL), "run"):
            pass
