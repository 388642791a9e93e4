"""Renders the wallpaper groups."""

from __future__ import annotations

from dataclasses import replace

from matplotlib.figure import Figure
from PIL import Image

from topwork.core.parameters import WallpaperParameters
from topwork.reporting.plots import plot_sheet
from topwork.symmetry.groups import GROUPS
from topwork.symmetry.render import Difficulty, RenderedFiles, Rendering, render_image

_PLATE_SIZE = 192  # pixels per side of an image


def render_wallpapers(parameters: WallpaperParameters) -> RenderedFiles:
    """PNG files in a folder for each group; each file is rendered when it is written."""
    return RenderedFiles(tuple(GROUPS), parameters.images_per_group, _rendering(parameters))


def draw_plate(parameters: WallpaperParameters) -> Figure:
    """A sheet with one pattern of each group, larger than in the data set and without distortions."""
    rendering = replace(_rendering(parameters), size=_PLATE_SIZE, difficulty=Difficulty())
    pictures = [Image.fromarray(render_image(group, 0, rendering)) for group in GROUPS]
    return plot_sheet(pictures, list(GROUPS), "The 17 wallpaper groups")


def _rendering(parameters: WallpaperParameters) -> Rendering:
    difficulty = Difficulty(**parameters.difficulty.model_dump())
    cell = parameters.smallest_cell, parameters.largest_cell
    return Rendering(parameters.size, cell, parameters.seed, difficulty)
