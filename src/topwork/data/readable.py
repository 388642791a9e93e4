"""Files that are images, but of a format for which a plugin is not installed here."""

from __future__ import annotations

import pandas as pd

from topwork.core.errors import InputError
from topwork.core.words import counted
from topwork.images.heif import ENDINGS, NEEDS_PLUGIN, has_plugin

_MOST = 0.5  # share of the files from which on a run without them is not what the user means


def check_names(paths: pd.Series[str], given: str) -> None:
    """Check by their names that most files can be read here, before one is opened; ``given`` says where they are.

    Raises:
        InputError: they are HEIC, and the plugin is not installed.

    """
    count = int(paths.str.lower().str.endswith(ENDINGS).sum())
    if count > _MOST * len(paths) and not has_plugin():
        raise _unreadable(count, len(paths), given)


def check_decoded(manifest: pd.DataFrame, source: str) -> None:
    """Check that the files which need the plugin are few; they may have other names (`photo.jpg`).

    Raises:
        InputError: they are not.

    """
    count = int((manifest["reason"] == NEEDS_PLUGIN).sum())
    if count > _MOST * len(manifest):
        raise _unreadable(count, len(manifest), f"images={source}")


def known_still(known: pd.DataFrame) -> pd.DataFrame:
    """What is known of files (with ``reason``), without what was said of them before the plugin was installed."""
    lacking = known["reason"] == NEEDS_PLUGIN
    return known[~lacking] if lacking.any() and has_plugin() else known


def _unreadable(count: int, files: int, given: str) -> InputError:
    return InputError(
        f"{given}: {counted(count, 'HEIC photograph')} among {counted(files, 'file')}, and what reads these is not "
        "installed: `pip install 'topwork[heif]'`, then run again."
    )
