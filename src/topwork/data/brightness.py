"""What the inspections say beyond usable or not: dark images of more than 8 bits, files with several pages."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from topwork.core.columns import OK
from topwork.core.greys import Scale
from topwork.core.words import counted
from topwork.images.greys import WHITE, is_deep

_DARK = 0.3  # share of the white value: images with no brighter value probably use fewer bits
_MOST = 0.5  # share of the images


def doubt_brightness(manifest: pd.DataFrame, inspected: pd.DataFrame, white: Scale) -> list[str]:
    """Warnings about images of more than 8 bits: most of them are far below white, or some have values above it.

    Args:
        manifest: of the images.
        inspected: the inspections of their files, with the ``highest`` value of each.
        white: the scale that the user gives; None takes the white value of the number type.

    """
    usable = manifest.loc[manifest["status"] == OK, ["sha256", "mode"]].drop_duplicates("sha256")
    highest = usable["sha256"].map(inspected.drop_duplicates("sha256").set_index("sha256")["highest"])
    by_mode = highest[usable["mode"].map(is_deep)].groupby(usable["mode"])
    return [doubt for mode, of_mode in by_mode for doubt in _doubts(str(mode), of_mode, white)]


def describe_pages(manifest: pd.DataFrame, inspected: pd.DataFrame) -> str:
    """A sentence on files with several pages or frames, or an empty text if there are none."""
    several = inspected.loc[inspected["several_pages"].astype(bool), "sha256"]
    count = int((manifest["sha256"].isin(several) & (manifest["status"] == OK)).sum())
    verb = "has" if count == 1 else "have"
    return f"{counted(count, 'file')} {verb} several pages or frames: the first one is used" if count else ""


def _doubts(mode: str, highest: pd.Series[float], white: Scale) -> Iterator[str]:
    full = white[1] if isinstance(white, tuple) else white or WHITE[mode[0]]
    dark, top = highest[highest <= _DARK * full], float(highest.max())
    if top > full:
        said = _reach(len(highest), len(highest), mode, top, full)
        yield f"{said}: what is brighter is cut off. Give white={top:.15g} to keep it."
    if len(dark) > _MOST * len(highest) and dark.max() > 0:
        found, asked = float(dark.max()), _likely_white(mode, float(dark.max()))
        yield (
            f"{_reach(len(dark), len(highest), mode, found, full)}: they are shown dark, in few greys. If "
            f"{asked:,.6g} is white, give white={asked:.15g}; or white=percentiles, which measures black and white."
        )


def _reach(count: int, images: int, mode: str, top: float, full: float) -> str:
    which = f"{counted(count, 'image')}" if count == images else f"{count:,} of {counted(images, 'image')}"
    return f"{which} of type {mode} reach {top:,.6g}, and {full:,.6g} is white (`white`)"


def _likely_white(mode: str, top: float) -> float:
    """The largest value of the fewest whole bits that hold ``top``; for floating point ``top`` itself."""
    return top if mode.startswith("F") else float(2 ** int(top).bit_length() - 1)
