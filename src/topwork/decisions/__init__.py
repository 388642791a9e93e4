"""Decisions: which strategy to use, which model is the champion, and which labels to check."""
