"""Whether torchrun or Slurm started this program, several times on one or several machines."""

from __future__ import annotations

import os


def started_by_launcher() -> bool:
    """Whether there are several processes of this program, which train networks together."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def follows() -> bool:
    """Whether this process only takes part in trainings, while the first one runs the program."""
    return started_by_launcher() and os.environ["RANK"] != "0"
