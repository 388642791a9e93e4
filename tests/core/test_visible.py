from __future__ import annotations

import logging

import pytest
from matplotlib.figure import Figure

from topwork.core.visible import quoted, unparsed, unquoted, visible
from topwork.reporting.plots import plot_confusion, plot_sheet
from topwork.run.display import _Visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü 漢字 🖼️", "plain ü 漢字 🖼️"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202egpj.exe", "a\\u202egpj.exe"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_a_terminal_would_obey_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_one_line_is_one_line() -> None:
    assert visible("two\nlines\t", one_line=True) == "two\\nlines\\t"


def test_log_messages_are_safe_to_show() -> None:
    record = logging.LogRecord("x", logging.INFO, "x", 1, "rejected: %s", ("\x1b]0;title\x07.png",), None)
    assert _Visible().filter(record)
    assert record.getMessage() == "rejected: \\x1b]0;title\\x07.png"


@pytest.mark.parametrize("cell", ["=1+1", "'quoted", "-x", "plain", "", "@", "'=1"])
def test_a_quoted_cell_is_unquoted_to_itself(cell: str) -> None:
    assert unquoted(quoted(cell)) == cell


@pytest.mark.parametrize("name", ["cents $$", "price $x_1$", "a\\$b", "$", "{}^_", "$$ 0.png"])
def test_names_with_dollar_signs_are_drawn_as_they_are(name: str) -> None:
    import numpy as np
    from PIL import Image

    for figure in (
        plot_confusion(np.eye(2, dtype=int), (name, "other"), name),
        plot_sheet([Image.new("RGB", (8, 8))], [name], name),
    ):
        figure.canvas.draw()
        assert name in texts_of(figure)


def texts_of(figure: Figure) -> set[str]:
    """What the figure shows, as Matplotlib draws it."""
    found = set()
    for text in figure.findobj(match=lambda artist: hasattr(artist, "_preprocess_math")):
        shown, is_math = text._preprocess_math(text.get_text())
        assert not is_math
        found.add(shown)
    return found


def test_unparsed_keeps_what_is_no_mathematics() -> None:
    assert unparsed("plain") == "plain"
