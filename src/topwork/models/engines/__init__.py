"""Engines that run a backbone: PyTorch in eager mode, PyTorch compiled, or OpenVINO; with one interface.

`build_engine` builds the engine of a given name, `selection.choose_engine` finds the fastest that computes the same.
A new engine is a module with a `build` function and its name in `ENGINES`.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from topwork.models.engines.engine import Engine, Recipe
from topwork.models.engines.hardware import accelerator

__all__ = ["ENGINES", "FORMATS", "REFERENCE", "Engine", "Recipe", "available_engines", "build_engine"]

ENGINES = ("eager", "compiled", "openvino")
FORMATS = ("float32", "bfloat16", "float16")
REFERENCE = ("eager", "float32")
"""The engine and number format with which others are compared, and which serve if those of training cannot run."""

_BUILDERS = {name: f"topwork.models.engines.{name}" for name in ENGINES}


def available_engines() -> tuple[str, ...]:
    """The engines that can run here; OpenVINO is for CPUs, and has no package for some platforms."""
    usable = accelerator() == "cpu" and find_spec("openvino") is not None
    return ENGINES if usable else tuple(name for name in ENGINES if name != "openvino")


def build_engine(recipe: Recipe) -> Engine:
    """The engine that the recipe names, ready to run."""
    engine: Engine = import_module(_BUILDERS[recipe.engine]).build(recipe)
    return engine
