from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from kedro.io import DataCatalog, MemoryDataset

from topwork.core.errors import InputError
from topwork.datasets.report import ReportDataset
from topwork.run.budget import Budget, Shares, check_features
from topwork.run.preflight import checked_seconds


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Key:
    digest = "key"
    engine, number_format = "eager", "float32"


class Store:
    """Lacks the features of all images."""

    def missing(self, _key: Any, sha256: list[str]) -> list[str]:
        return sha256


class Engines:
    def choices(self) -> list[dict[str, Any]]:
        return []


def budget(seconds: float | None) -> tuple[Budget, Clock]:
    clock = Clock()
    return Budget(seconds, 100.0, clock), clock


def catalog(tmp_path: Any, images: int = 0) -> DataCatalog:
    manifest = pd.DataFrame({"status": "ok", "sha256": [str(number) for number in range(images)]})
    return DataCatalog(
        {
            "granted_minutes": ReportDataset(filepath=str(tmp_path / "granted.json"), missing={}),
            "manifest": MemoryDataset(manifest),
            "feature_key": MemoryDataset(Key()),
            "known_features": MemoryDataset(Store(), copy_mode="assign"),
            "engines": MemoryDataset(Engines(), copy_mode="assign"),
        }
    )


OPTIONS = {"env": None, "params": {"minutes": 5}}


def test_without_a_limit_everything_has_time(tmp_path: Any) -> None:
    unlimited, _ = budget(None)
    assert unlimited.left() is None
    assert unlimited.for_network(2, 10.0, 0.0) is None
    assert Shares(unlimited, catalog(tmp_path), OPTIONS).why_no_head(1e9) == ""
    assert Shares(unlimited, catalog(tmp_path), OPTIONS).why_no_network(1, lambda _: 0.0) == ""


def test_what_scoring_takes_here_is_kept_back_for_the_end() -> None:
    limited, clock = budget(300.0)
    clock.now += 60.0
    limited.note_scoring(4.0)
    assert limited.used == 60.0
    assert limited.left() == pytest.approx(300.0 - 60.0 - 10.0)
    assert limited.for_network(1, 6.0, 0.0) == pytest.approx(230.0 - 4.0 - 6.0)
    assert limited.for_network(2, 6.0, 0.0) == pytest.approx(115.0 - 4.0 - 6.0)
    limited.note_scoring(20.0)  # the machine has become busy
    assert limited.left() == pytest.approx(300.0 - 60.0 - 50.0)


def test_what_cannot_end_in_time_is_not_started_and_the_reason_has_the_figures(tmp_path: Any) -> None:
    limited, clock = budget(120.0)
    shares = Shares(limited, catalog(tmp_path), OPTIONS)
    limited.note_scoring(4.0)
    assert shares.why_no_head(50.0) == shares.why_no_network(1, lambda _: 0.0) == ""
    clock.now += 80.0
    assert shares.why_no_head(50.0) == "no time is left for it: it takes about 50 s, and 26 s are left"
    assert shares.why_no_network(1, lambda _: 0.0) == ""
    assert "it has 15 s, and takes about 20 s" in shares.why_no_network(2, lambda _: 0.0)
    assert "it has 30 s, and takes about 50 s" in shares.why_no_network(1, lambda speed: 1800 / speed)


def test_a_run_that_goes_on_has_the_same_share_and_another_run_its_own(tmp_path: Any) -> None:
    limited, clock = budget(300.0)
    entries = catalog(tmp_path)
    minutes = Shares(limited, entries, OPTIONS).minutes_for("finetune", 1)
    clock.now += 50.0
    assert Shares(limited, entries, OPTIONS).minutes_for("finetune", 1) == minutes
    assert Shares(limited, entries, {**OPTIONS, "env": "other"}).minutes_for("finetune", 1) < minutes
    again = Shares(limited, entries, OPTIONS)
    again.forget()
    assert again.minutes_for("finetune", 1) < minutes


def test_features_that_take_too_long_are_refused_with_the_minutes_that_are_enough(tmp_path: Any) -> None:
    limited, _ = budget(300.0)
    check_features(limited, catalog(tmp_path, images=1000), ["feature_key"])
    with pytest.raises(InputError, match=r"minutes=5: the features of 90,000 images take about 2,000 s") as told:
        check_features(limited, catalog(tmp_path, images=90_000), ["feature_key"])
    enough = int(str(told.value).split("Give minutes=")[1].split(",")[0])
    check_features(budget(60.0 * enough)[0], catalog(tmp_path, images=90_000), ["feature_key"])


@pytest.mark.parametrize("wrong", [0, -1, "five", True, np.inf, np.nan])
def test_minutes_are_a_positive_number(wrong: Any) -> None:
    with pytest.raises(InputError, match="give the time of the whole run in minutes"):
        checked_seconds(wrong)


def test_minutes_become_seconds() -> None:
    assert (checked_seconds(None), checked_seconds(0.5)) == (None, 30.0)
