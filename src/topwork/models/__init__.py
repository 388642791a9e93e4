"""Backbones, the engines that run them, heads, and the classifier that joins them."""
