"""Digests that identify the content of files, arrays, tables and splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def file_digest(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def text_digest(text: str) -> str:
    """Hexadecimal SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def code_digest() -> str:
    """Hexadecimal SHA-256 of the source files of Topwork."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(f"{path.relative_to(package).as_posix()} {file_digest(path)}\n".encode())
    return digest.hexdigest()


def arrays_digest(arrays: Iterable[NDArray[Any]]) -> str:
    """Hexadecimal SHA-256 of the numbers of the arrays, in their order."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def table_digest(table: pd.DataFrame, columns: Sequence[str]) -> str:
    """Hexadecimal digest (16 digits) of the named columns, independent of the order of the rows."""
    texts = table[list(columns)].astype(str).reset_index(drop=True)
    first, others = texts.iloc[:, 0], texts.iloc[:, 1:]
    lines = (first.str.cat(others, sep="\t") if len(columns) > 1 else first).sort_values()
    return hashlib.sha256("\n".join(lines).encode("utf-8", "backslashreplace")).hexdigest()[:16]


def classes_digest(class_names: Iterable[str]) -> str:
    """Hexadecimal digest (16 digits) of a set of class names, independent of their order."""
    return text_digest("\n".join(sorted(class_names)))[:16]


def manifest_digest(manifest: pd.DataFrame) -> str:
    """Digest of the images: their ids, contents, labels and status."""
    return table_digest(manifest, ["image_id", "sha256", "label", "status"])


def split_digest(splits: pd.DataFrame) -> str:
    """Digest of a split with its labels and folds; scores are comparable only if it is equal."""
    return table_digest(splits, ["image_id", "label", "split", "fold"])
