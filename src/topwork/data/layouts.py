"""Recognises the layout of an image folder: a folder per class, or folders per split that contain class folders."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from topwork.core.columns import TEST, TRAIN, VAL
from topwork.core.errors import InputError
from topwork.data.image_files import Files

_MEANINGS = {
    **dict.fromkeys(("train", "training", "trn"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), VAL),
    **dict.fromkeys(("test", "testing", "tst"), TEST),
}
_FILLERS = {"", "set", "sets", "data", "dataset", "split", "images", "image", "imgs", "img", "seg", "folder", "final"}
"""Words without meaning that may be next to the name of a split, as in `seg_train` and `training_set`."""
_NAMED = 5


@dataclass(frozen=True)
class Layout:
    """The folders that contain class folders (``roots``: folder and split), and notes for the user."""

    kind: str
    roots: tuple[tuple[Path, str], ...]
    notes: tuple[str, ...] = ()


def split_meaning(name: str) -> str:
    """The split that the name of a folder or a cell means: `train`, `val`, `test`, or an empty text."""
    words = re.split(r"[\W_]+", re.sub(r"\d+", "", name).lower())
    meanings = {_MEANINGS[word] for word in words if word in _MEANINGS}
    others = {word for word in words if word not in _MEANINGS}
    return meanings.pop() if len(meanings) == 1 and others <= _FILLERS else ""


def recognise(given: Path, wanted: str, files: Files) -> Layout:
    """The layout of a folder; ``wanted`` is `folders`, `split`, or `auto` to recognise it.

    Folders that may be splits are not read as classes without a message.

    Raises:
        InputError: the layout is ambiguous; the message says what was found and how to decide.

    """
    if wanted == "folders":
        return Layout("folders", ((given, ""),))
    path = _unwrapped(given, files)
    folders = files.subfolders(path)
    named = {folder: meaning for folder in folders if (meaning := split_meaning(folder.name))}
    labelled = {folder: inner for folder in named if files.subfolders(inner := _unwrapped(folder, files))}
    if wanted == "split":
        return _of_splits(given, {folder: named[folder] for folder in labelled}, labelled, ())
    notes = (f"{given} holds nothing but {path.relative_to(given)}: that folder is read.",) if path != given else ()
    if not _speaks_for_splits(named, labelled, folders):
        return Layout("folders", ((path, ""),), notes)
    others = [folder for folder in folders if folder not in labelled]
    doubtful = [folder.name for folder in others if files.subfolders(_unwrapped(folder, files))]
    seen = ", ".join(sorted(folder.name for folder in named))
    way_out = "Move what does not belong, or say layout=split or layout=folders."
    if not labelled:
        raise InputError(
            f"images={given}: {seen} look like splits, but hold no class folders. Expected train/CLASS/image.jpg; "
            "say layout=folders if they are classes."
        )
    if doubtful:
        raise InputError(f"images={given}: {seen} look like splits, but {_some(doubtful)} do not. {way_out}")
    if len({named[folder] for folder in labelled}) < len(labelled):
        raise InputError(f"images={given}: {seen} look like splits, and two of them mean the same. {way_out}")
    if TRAIN not in {named[folder] for folder in labelled}:
        raise InputError(
            f"images={given}: {seen} look like splits, but none with class folders is for training. {way_out}"
        )
    unlabelled = tuple(
        f"{folder} holds no class folders, so that its images have no label and are left out: "
        f"predict for them with new_images={_unwrapped(folder, files)}."
        for folder in others
    )
    return _of_splits(given, {folder: named[folder] for folder in labelled}, labelled, (*notes, *unlabelled))


def _of_splits(given: Path, meaning: dict[Path, str], inner: dict[Path, Path], notes: tuple[str, ...]) -> Layout:
    if set(meaning.values()) == {TRAIN}:  # no split is held out, so that Topwork splits the images itself
        (folder,) = meaning
        return Layout("folders", ((inner[folder], ""),), notes)
    return Layout("split", tuple((inner[folder], split) for folder, split in meaning.items()), notes)


def _speaks_for_splits(named: dict[Path, str], labelled: dict[Path, Path], folders: list[Path]) -> bool:
    """Whether folders with names of splits contain class folders, or all folders have names of splits."""
    trains = any(named[folder] == TRAIN for folder in labelled)
    several = len(set(named.values())) > 1
    return trains or (several and (bool(labelled) or len(named) == len(folders)))


def _unwrapped(folder: Path, files: Files) -> Path:
    """The only subfolder, if it contains folders and there is nothing beside it, as in unpacked archives."""
    inner = files.subfolders(folder)
    while len(inner) == 1 and not files.loose_files(folder) and len(files.subfolders(inner[0])) > 1:
        folder = inner[0]
        inner = files.subfolders(folder)
    if len(inner) == 1 and not files.loose_files(folder) and inner[0].name == folder.name:
        return inner[0]  # test_set/test_set/1.jpg
    return folder


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
