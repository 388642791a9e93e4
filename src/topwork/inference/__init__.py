"""Predictions of a classifier for images, and checks that they are the same wherever it runs."""
