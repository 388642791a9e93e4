"""Numbers with their nouns."""

from __future__ import annotations


def counted(number: float, noun: str) -> str:
    """The number with its noun, which gets an `s` unless the number is one: `1 pair`, `2,500 images`."""
    return f"{number:,.0f} {noun}{'' if number == 1 else 's'}"
