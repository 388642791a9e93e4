"""How good predictions are, how sure that is, and which of two is better."""
