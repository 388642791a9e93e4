"""Scores of predictions, their uncertainty, and comparisons of classifiers."""
