"""Makes text from users' files safe to show in a terminal, a figure or a spreadsheet."""

from __future__ import annotations

import re

_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"
_HIDDEN, _HIDDEN_OR_BROKEN = re.compile(f"[{_CONTROL}]"), re.compile(f"[{_CONTROL}\t\n\u2028\u2029]")
_FORMULA = re.compile("'*[=+\\-@\t\r]")  # cell that spreadsheets compute (OWASP, CSV injection), or quoted
_QUOTE = "'"


def visible(text: str, *, one_line: bool = False) -> str:
    r"""The text with control characters and direction marks as escape sequences, such as `\x1b[31m`.

    Tabs and line ends stay as they are, unless ``one_line`` is true.
    """
    return (_HIDDEN_OR_BROKEN if one_line else _HIDDEN).sub(lambda found: _escaped(found[0]), text)


def unparsed(text: str) -> str:
    """The text with dollar signs escaped, so that Matplotlib does not parse it as mathematics."""
    return visible(text).replace("$", r"\$")


def quoted(cell: str) -> str:
    """The cell, with an apostrophe before it if a spreadsheet would take it for a formula."""
    return _QUOTE + cell if _FORMULA.match(cell) else cell


def unquoted(cell: str) -> str:
    """The cell as it was before `quoted`."""
    return cell[1:] if cell.startswith(_QUOTE) and _FORMULA.match(cell, 1) else cell


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()
