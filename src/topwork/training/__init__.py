"""Training of heads and networks."""
