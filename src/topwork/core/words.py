"""Words in messages: numbers with their nouns, and words that are nearly equal."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

_TELLING = 3  # letters


def counted(number: float, noun: str) -> str:
    """The number with its noun, which gets an `s` unless the number is one: `1 pair`, `2,500 images`."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"


def perhaps(wanted: str, known: Iterable[str]) -> str:
    """The name that is probably meant, as a question for a message (`perhaps auto? `), or nothing if none is near."""
    names = {name.lower(): name for name in known}  # the first letter is often the only one that is another
    near = difflib.get_close_matches(wanted.lower(), names, n=1)
    return f"perhaps {names[near[0]]}? " if near else ""


def is_one_slip(word: str, other: str) -> bool:
    """Whether one letter too many, too few, another one, or two letters in the wrong order make the other word.

    A digit is no such letter: `class 1` and `class 2` are different on purpose. Words of one or two letters are too
    short to tell.
    """
    start = _equal_at_start(word, other)
    end = min(_equal_at_start(word[::-1], other[::-1]), min(len(word), len(other)) - start)
    mine, theirs = word[start : len(word) - end], other[start : len(other) - end]
    if word == other or min(len(word), len(other)) < _TELLING or any(each.isdigit() for each in mine + theirs):
        return False
    return max(len(mine), len(theirs)) == 1 or (len(mine) == 2 and mine == theirs[::-1])


def _equal_at_start(word: str, other: str) -> int:
    pairs = zip(word, other, strict=False)
    return next((place for place, (mine, theirs) in enumerate(pairs) if mine != theirs), min(len(word), len(other)))
