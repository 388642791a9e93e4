"""Topwork: graft a new classifier onto a pretrained CNN."""

__version__ = "0.1.0"
