"""No folder upsets ingestion: every file is read right or rejected for a named reason, and no row is another's."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.conftest import PROJECT, encode, fill
from tests.hostile import MAX_BYTES, MAX_PIXELS, Kind, hostile_kinds, picture
from topwork.core.columns import INSPECTION_COLUMNS, OK, REJECTED
from topwork.core.stores import ImageStore
from topwork.data.manifest import Limits, build_manifest, inspect_new
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.images.decode import decode_pixels, decode_rgb

LIMITS = Limits(MAX_PIXELS, MAX_BYTES)
KINDS = {kind.name: kind for kind in hostile_kinds()}


def inspected(images: ImageStore, known: pd.DataFrame | None = None) -> pd.DataFrame:
    known = pd.DataFrame(columns=pd.Index(INSPECTION_COLUMNS)) if known is None else known
    return pd.concat([known, *inspect_new(images.listing, images, known, LIMITS, 4)], ignore_index=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The hostile kinds as one class, two good classes beside it."""
    folder = fill(tmp_path_factory.mktemp("hostile") / "images", 4)
    (folder / "odd").mkdir()
    for kind in KINDS.values():
        kind.write(folder / "odd" / kind.name)
    return folder


@pytest.fixture(scope="module")
def images(folder: Path) -> ImageStore:
    return ImageFolderDataset(path=str(folder)).load()


@pytest.fixture(scope="module")
def rows(images: ImageStore) -> pd.DataFrame:
    """What inspection says of each file of the odd class, by file name."""
    found = images.listing.merge(inspected(images), on="path", how="left")
    odd = found[found["label"] == "odd"]
    return odd.set_index(odd["path"].map(lambda path: Path(path).name))


def name_of(kind: Kind) -> str:
    return kind.name.replace("\\", "\\\\")  # in a listing


def test_there_are_many_kinds_and_each_has_its_row(rows: pd.DataFrame) -> None:
    assert len(KINDS) >= 60
    assert len(rows) == len(KINDS)
    assert set(rows.index) == {name_of(kind) for kind in KINDS.values()}


@pytest.mark.parametrize("kind", KINDS.values(), ids=[ascii(name)[1:-1][:40] for name in KINDS])
def test_every_kind_is_read_right_or_rejected_for_its_reason(
    kind: Kind, rows: pd.DataFrame, images: ImageStore
) -> None:
    row = rows.loc[name_of(kind)]
    if kind.reason:
        assert row["status"] == REJECTED, row
        assert re.search(kind.reason, row["reason"]), row["reason"]
        return
    assert (row["status"], row["reason"]) == (OK, "")
    decoded = decode_rgb(images[row["image_id"]], MAX_PIXELS)
    assert decoded.mode == "RGB"
    assert decoded.size == (row["width"], row["height"])
    pixels = np.asarray(decoded, int)
    np.testing.assert_array_equal(decode_pixels(images[row["image_id"]], MAX_PIXELS), pixels)
    middle, width = pixels[pixels.shape[0] // 2], pixels.shape[1]
    assert abs(middle[width // 5] - kind.left).max() <= kind.tolerance
    assert abs(middle[width - 1 - width // 5] - kind.right).max() <= kind.tolerance


def test_no_row_is_anothers(images: ImageStore, rows: pd.DataFrame) -> None:
    for row in rows[rows["status"] == OK].itertuples():
        assert hashlib.sha256(images[row.image_id]).hexdigest() == row.sha256


def test_the_manifest_has_a_row_for_every_file(images: ImageStore) -> None:
    manifest = build_manifest(images.listing, inspected(images), LIMITS, images.source)
    assert manifest["image_id"].tolist() == images.listing["image_id"].tolist()
    assert ((manifest["status"] == OK) == (manifest["reason"] == "")).all()


def test_hostile_files_are_looked_at_in_little_memory(folder: Path) -> None:
    program = f"""
import resource
import pandas as pd
from topwork.datasets.image_folder import ImageFolderDataset
from topwork.data.manifest import Limits, inspect_new
from topwork.core.columns import INSPECTION_COLUMNS
images = ImageFolderDataset(path={str(folder)!r}).load()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
known = pd.DataFrame(columns=list(INSPECTION_COLUMNS))
rows = sum(map(len, inspect_new(images.listing, images, known, Limits({MAX_PIXELS}, {MAX_BYTES}), 4)))
print(rows, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=PROJECT, timeout=120
    )
    count, megabytes = map(int, done.stdout.split())
    assert count == len(KINDS) + 12
    assert megabytes < 150


def test_a_file_that_vanishes_before_it_is_looked_at_is_a_rejected_row(tmp_path: Path) -> None:
    folder = fill(tmp_path, 5)
    images = ImageFolderDataset(path=str(folder)).load()
    (folder / "green" / "01002.png").unlink()
    found = inspected(images).set_index("path")
    gone = found.loc[str(folder / "green" / "01002.png")]
    assert (gone["status"], gone["reason"]) == (REJECTED, "file not found")
    assert (found.drop(gone.name)["status"] == OK).all()
    manifest = build_manifest(images.listing, found.reset_index(), LIMITS, "here")
    others = manifest[manifest["status"] == OK]
    assert all(hashlib.sha256(Path(row.path).read_bytes()).hexdigest() == row.sha256 for row in others.itertuples())


def test_a_file_that_changes_before_it_is_looked_at_is_looked_at_again(tmp_path: Path) -> None:
    folder = fill(tmp_path, 5)
    images = ImageFolderDataset(path=str(folder)).load()
    changed = folder / "green" / "01002.png"
    changed.write_bytes(encode(picture((30, 20))))
    first = inspected(images)
    assert first.set_index("path").loc[str(changed), "sha256"] == hashlib.sha256(changed.read_bytes()).hexdigest()
    later = ImageFolderDataset(path=str(folder)).load()
    again = inspected(later, first)
    assert again["path"].tolist()[len(first) :] == [str(changed)]  # and nothing else


def test_a_folder_that_cannot_be_read_is_a_row_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, scandir = fill(tmp_path, 3), os.scandir

    def forbidden(path: str | Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    (folder / "green" / "locked").mkdir()
    monkeypatch.setattr(os, "scandir", forbidden)
    listing = ImageFolderDataset(path=str(folder)).load().listing
    assert listing.loc[listing["error"] != "", ["path", "error"]].to_numpy().tolist() == [
        [str(folder / "green" / "locked"), "unreadable (permission denied)"]
    ]


class SimulatedFolder:
    """`os.scandir` and `os.stat` of class folders with any number of files that exist nowhere else."""

    def __init__(self, root: str, classes: int, files_per_class: int) -> None:
        self.root, self.classes, self.files_per_class = root, classes, files_per_class
        self.stats = 0

    def scandir(self, path: str | Path) -> Any:
        if str(path) == self.root:
            return contextlib.nullcontext(SimulatedEntry(self.root, f"class{n}", True) for n in range(self.classes))
        names = (f"{n:07d}.jpg" for n in range(self.files_per_class))
        return contextlib.nullcontext(SimulatedEntry(str(path), name, False) for name in names)

    def stat(self, path: str | Path) -> os.stat_result:
        self.stats += 1
        _, dot, _ = str(path).rpartition(".jpg")
        if dot:
            number = int(str(path)[-11:-4])
            return os.stat_result((stat.S_IFREG, number, 1, 1, 0, 0, 1000 + number, 0, 0, 0))
        return os.stat_result((stat.S_IFDIR, hash(path) % 10**6, 1, 1, 0, 0, 0, 0, 0, 0))


@dataclass(frozen=True)
class SimulatedEntry:
    folder: str
    name: str
    is_folder: bool

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name}"

    def is_dir(self) -> bool:
        return self.is_folder


def test_a_million_files_are_listed_with_one_look_each_and_none_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated = SimulatedFolder(str(tmp_path), 5, 200_000)
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", simulated.scandir)
        patch.setattr(os, "stat", simulated.stat)
        patch.setattr(Path, "exists", lambda _: True)
        patch.setattr(Path, "is_file", lambda _: False)
        patch.setattr(Path, "is_dir", lambda _: True)
        listing = ImageFolderDataset(path=str(tmp_path)).load().listing
    assert len(listing) == 1_000_000
    assert listing["label"].value_counts().to_dict() == {f"class{n}": 200_000 for n in range(5)}
    assert simulated.stats == 1_000_000 + 5
    for row in (0, 199_999, 777_777):  # each row is of its own file
        image_id = f"class{row // 200_000}/{row % 200_000:07d}.jpg"
        assert listing.loc[row, ["image_id", "size"]].tolist() == [image_id, 1000 + row % 200_000]
