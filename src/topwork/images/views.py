"""Random parameters of augmented views; those of view number v depend only on the seed, the image's content and v."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from topwork.core.arrays import Floats
from topwork.core.parameters import AugmentationParameters

_Words = NDArray[np.uint64]

FLIPS = {"none": (0, 0), "horizontal": (1, 0), "vertical": (0, 1), "both": (1, 1)}
RECIPE = "views-1"
"""Version of what the drawn parameters do; it is part of the feature key, so raise it when this would change."""

DRAWN_COLUMNS = (
    "shift_x",  # shares of the side
    "shift_y",
    "angle",  # degrees
    "mirror_x",  # -1 where left and right are exchanged, else 1
    "mirror_y",
    "zoom",
    "aspect",
    "shear",  # degrees
    "kept",  # share of the area
    "kept_x",  # where it lies, from -1 to 1
    "kept_y",
    "brightness",
    "contrast",
    "saturation",
    "blur",  # standard deviation, share of the side
    "erased",  # share of the area
    "erased_aspect",
    "erased_x",  # where its centre lies, from -1 to 1
    "erased_y",
)
VIEW_COLUMNS = ("sha256", "view", *DRAWN_COLUMNS)


@dataclass(frozen=True)
class ViewPlan:
    """The largest changes of a view, by kind of change; the value in brackets switches the kind off.

    ``translation`` (0) is a share of the side, ``rotation`` (0) and ``shear`` (0) are degrees in both directions,
    ``flip`` is one of ``FLIPS`` (none), ``scale`` (1) and ``aspect`` (1) are largest factors in both directions,
    ``crop`` (1) is the smallest share of the area kept, ``colour`` (0) the largest change of brightness, contrast and
    saturation, ``blur`` (0) the largest standard deviation as a share of the side, ``erasing`` (0) the largest share of
    the area painted over. ``fill`` fills the outside of the image: with its `mirror` image, its `edge`, or `grey`.
    """

    translation: float
    rotation: float
    flip: str
    scale: float
    aspect: float
    shear: float
    crop: float
    colour: float
    blur: float
    erasing: float
    fill: str
    seed: int = 0

    def name(self, view: int) -> str:
        """Name of view number ``view`` of this plan in a feature key."""
        content = json.dumps({"recipe": RECIPE, **asdict(self)}, sort_keys=True)
        return f"{hashlib.sha256(content.encode()).hexdigest()[:16]}-{view}"


_NONE = ViewPlan(0, 0, "none", 1, 1, 0, 1, 0, 0, 0, "mirror")

# Presets contain only changes that keep the label. Values are smaller than usual in training from scratch: a linear
# classifier on frozen features cannot learn an invariance that the backbone has not learned.
PRESETS = {
    "none": _NONE,
    # crop of ResNet's training (He et al. 2016) with a smaller range; a mirrored object keeps its class
    "photo": replace(
        _NONE, translation=0.05, rotation=10, flip="horizontal", scale=1.1, aspect=1.1, crop=0.6, colour=0.2
    ),
    # characters must not be mirrored or turned far; slant and width vary with the writer (Simard et al. 2003)
    "digits": replace(_NONE, translation=0.08, rotation=10, scale=1.1, aspect=1.1, shear=8, fill="edge"),
    # isometries and scaling do not change a wallpaper group; shear and aspect break its rotations and mirrors, and a
    # mirrored edge would add a mirror
    "pattern": replace(
        _NONE, translation=0.1, rotation=180, flip="both", scale=1.25, crop=0.7, colour=0.3, blur=0.003, fill="grey"
    ),
}


def plan_views(parameters: AugmentationParameters) -> ViewPlan:
    """The plan of the preset, where values given in ``parameters`` replace those of the preset."""
    own = {name: getattr(parameters, name) for name in asdict(_NONE)}
    return replace(PRESETS[parameters.preset], **{name: value for name, value in own.items() if value is not None})


def draw_views(plan: ViewPlan, sha256: Sequence[str], views: Sequence[int]) -> pd.DataFrame:
    """One row (columns ``VIEW_COLUMNS``) for each image and each view number (from 1 on), image by image.

    The row of an image does not depend on the other images.
    """
    digests = np.repeat(np.array([int(digest[:16], 16) for digest in sha256], np.uint64), len(views))
    numbers = np.tile(np.asarray(views, np.uint64), len(sha256))
    uniform = _uniform(plan.seed, digests, numbers, len(DRAWN_COLUMNS))
    random = dict(zip(DRAWN_COLUMNS, uniform, strict=True))

    def between(kind: str, largest: float) -> Floats:
        return np.asarray((2 * random[kind] - 1) * largest)

    def factor(kind: str, largest: float) -> Floats:
        return np.asarray(np.exp(between(kind, np.log(largest))))

    mirrored_x, mirrored_y = FLIPS[plan.flip]
    drawn = {
        "shift_x": between("shift_x", plan.translation),
        "shift_y": between("shift_y", plan.translation),
        "angle": between("angle", plan.rotation),
        "mirror_x": np.where(random["mirror_x"] < 0.5 * mirrored_x, -1.0, 1.0),
        "mirror_y": np.where(random["mirror_y"] < 0.5 * mirrored_y, -1.0, 1.0),
        "zoom": factor("zoom", plan.scale),
        "aspect": factor("aspect", plan.aspect),
        "shear": between("shear", plan.shear),
        "kept": 1 - random["kept"] * (1 - plan.crop),
        "kept_x": between("kept_x", 1),
        "kept_y": between("kept_y", 1),
        "brightness": 1 + between("brightness", plan.colour),
        "contrast": 1 + between("contrast", plan.colour),
        "saturation": 1 + between("saturation", plan.colour),
        "blur": random["blur"] * plan.blur,
        "erased": random["erased"] * plan.erasing,
        "erased_aspect": factor("erased_aspect", 2),
        "erased_x": between("erased_x", 1),
        "erased_y": between("erased_y", 1),
    }
    table = pd.DataFrame({kind: drawn[kind].astype(np.float32) for kind in DRAWN_COLUMNS})
    table.insert(0, "view", numbers.astype(int))
    table.insert(0, "sha256", np.repeat(np.asarray(sha256, dtype=object), len(views)))
    return table


def _uniform(seed: int, digests: _Words, views: _Words, count: int) -> Floats:
    """``count`` rows of random numbers in [0, 1), one per pair of digest and view; they do not depend on the order."""
    with np.errstate(over="ignore"):
        state = _mixed(digests ^ _mixed(np.uint64(seed % 2**64) + _mixed(views)))
        counters = np.arange(1, count + 1, dtype=np.uint64)[:, None] * np.uint64(0x9E3779B97F4A7C15)
        return np.asarray((_mixed(state + counters) >> np.uint64(11)) * 2.0**-53)


def _mixed(x: _Words) -> _Words:
    """The output function of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
