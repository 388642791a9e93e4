"""How heads and networks learn."""
