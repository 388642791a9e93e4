"""`topwork` and `python -m topwork`: the same as `kedro`, from any folder inside the project."""

from __future__ import annotations

from kedro.framework.cli.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
