"""A report as one self-contained page, without scripts, external fonts or external pictures."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import matplotlib as mpl
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure
from PIL import Image

from topwork.scoring.metric import told_number, unit_of

_CODE = re.compile("`([^`]+)`")


@dataclass(frozen=True)
class Thumbnail:
    """A picture as a data URL, and the lines of text under it."""

    source: str
    lines: tuple[str, ...]


def svg_of(figure: Figure) -> Markup:
    """The figure as SVG for a page; its text remains text, so that it can be searched and read aloud."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "topwork"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return Markup(text[text.index("<svg") :])  # matplotlib escapes the texts of its figures


def thumbnail_of(picture: Image.Image, *lines: str) -> Thumbnail:
    """The picture as a JPEG inside the page, with lines of text."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return Thumbnail("data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode(), lines)


def render_page(name: str, content: Mapping[str, Any]) -> str:
    """The template of this name, filled with ``content``; a missing value is an error, not a gap."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"percent": _percent, "points": _points, "seconds": _seconds, "inline": _inline}
    environment.filters |= {"score": _score, "difference": told_number}
    template = files("topwork.reporting").joinpath("templates", name).read_text(encoding="utf-8")
    return environment.from_string(template).render(**content)


def _inline(text: str) -> Markup:
    """The text for a page, with what stands between backticks as code; a per cent sign stays with its number."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))).replace(" %", "\u00a0%"))


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:z.1f} %"


def _score(score: float, metric: str) -> str:
    return _percent(score) if unit_of(metric) == "points" else f"{-score:.3f}"


def _points(share: float | None) -> str:
    return "" if share is None else f"{100 * share:z.1f}"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
