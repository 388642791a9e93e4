"""Topwork: graft a new classifier onto a pretrained CNN."""

from topwork.environment import prepare as _prepare

__version__ = "0.1.0"

_prepare()
