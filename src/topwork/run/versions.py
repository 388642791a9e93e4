"""Versions of the packages that results depend on."""

from __future__ import annotations

from importlib.metadata import version

_PACKAGES = ("topwork", "kedro", "mlflow", "torch", "torchvision", "timm", "scikit-learn", "numpy")


def versions() -> dict[str, str]:
    """The version of each package that affects results, by its name."""
    return {package: version(package) for package in _PACKAGES}
