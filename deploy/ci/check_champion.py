"""Fails if the champion of the last run may be worse than a floor: `python check_champion.py 0.85 [champion.json]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CHAMPION = "data/08_reporting/champion.json"


def main(floor: str, path: str = CHAMPION) -> None:
    """Compare the lower end of the interval of the accuracy out of fold, which choices were made by, with the floor."""
    champion = json.loads(Path(path).read_text(encoding="utf-8"))
    if not champion["strategy"]:
        sys.exit(f"There is no champion: {champion['reason']}.")
    score, low, high = (champion[f"oof_accuracy{end}"] for end in ("", "_low", "_high"))
    told = f"{champion['strategy']}: accuracy out of fold {score:.3f} [{low:.3f}, {high:.3f}], floor {floor}"
    if low < float(floor):
        sys.exit(f"{told}: too low.")
    print(f"{told}: passed.")


if __name__ == "__main__":
    main(*sys.argv[1:])
