"""What can go wrong, by whose part it is to mend."""

from __future__ import annotations


class InputError(ValueError):
    """Something that the user gave cannot be used; the message names it and says what to do."""
