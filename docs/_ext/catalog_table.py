"""A Markdown table of the files of a run, from `conf/base/catalog.yml`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

CATALOG = Path(__file__).parents[2] / "conf" / "base" / "catalog.yml"
_READ_ONLY = {"images", "new_images"}
_STORE = "${runtime_params:store,${globals:store}}"


def catalog_table(catalog: Path = CATALOG) -> str:
    """The table of all entries with a path, each path once, in Markdown."""
    rows = [
        f"| `{name}` | `{path}` | {kept} |" for name, path, kept in _entries(yaml.safe_load(catalog.read_text("utf-8")))
    ]
    return "\n".join(["| entry | file or folder | in MLflow |", "| --- | --- | --- |", *rows])


def _entries(entries: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    seen: set[str] = set()
    for name, entry in entries.items():
        path = _plain(str(entry.get("filepath") or entry.get("path") or "")) if isinstance(entry, dict) else ""
        if path and path not in seen and name not in _READ_ONLY:
            seen.add(path)
            yield name, path, entry.get("metadata", {}).get("mlflow", "")


def _plain(path: str) -> str:
    """The path with the defaults of `data` and `store`, without the folder of one of several features."""
    known = path.replace(_STORE, "data/04_feature/store").replace("${_data}", "data").replace("${_slot}/", "")
    return re.sub(r"\{strategy\}", "<strategy>", known)
