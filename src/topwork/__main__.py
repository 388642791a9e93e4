"""`topwork` and `python -m topwork`: `kedro` inside the project, and the installed package elsewhere."""

from __future__ import annotations

from pathlib import Path

from kedro.utils import find_kedro_project

__all__ = ["main"]


def main() -> None:
    """All commands of Kedro inside a Kedro project; elsewhere those of Topwork, on the folder `conf` that lies here."""
    if find_kedro_project(Path.cwd()):
        from kedro.framework.cli.cli import main as kedro

        kedro()
    else:
        _run_installed(Path.cwd())


def _run_installed(folder: Path) -> None:
    """The commands of Topwork; the folder takes the place of the project."""
    from kedro import __version__
    from kedro.framework.project import configure_project
    from kedro.framework.startup import ProjectMetadata

    from topwork.environment import start
    from topwork.run.cli import cli

    start()
    configure_project("topwork")
    cli(obj=ProjectMetadata(folder / "pyproject.toml", "topwork", "topwork", folder, folder, __version__, [], ""))


if __name__ == "__main__":
    main()
