"""Kedro looks for the project's commands here."""

from topwork.run.cli import cli

__all__ = ["cli"]
