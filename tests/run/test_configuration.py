from __future__ import annotations

import os
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader

from topwork.run.configuration import ConfigLoader, following_parameters, load_configuration


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    for name in ("base", "local"):
        (tmp_path / name).mkdir()
    (tmp_path / "base" / "globals.yml").write_text("seed: 0\n")
    (tmp_path / "base" / "parameters.yml").write_text(
        "block: {seed: '${globals:seed}', given: '${runtime_params:x,1}'}\n"
    )
    return tmp_path


def parameters(conf: Path, **given: int) -> dict[str, int]:
    found: dict[str, int] = load_configuration(conf, None, given)["parameters"]["block"]
    return found


def test_a_part_is_read_once_for_all_loaders_of_the_same_files(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = parameters(conf)
    monkeypatch.setattr(OmegaConfigLoader, "_read_raw_config", lambda *_: pytest.fail("read again"))
    assert parameters(conf) == first == {"seed": 0, "given": 1}


def test_other_parameters_of_the_command_give_other_parts(conf: Path) -> None:
    assert [parameters(conf)["given"], parameters(conf, x=2)["given"], parameters(conf)["given"]] == [1, 2, 1]


def test_a_file_that_changes_is_read_again(conf: Path) -> None:
    assert parameters(conf)["seed"] == 0
    path = conf / "base" / "globals.yml"
    path.write_text("seed: 7\n")
    os.utime(path, ns=(1, 1))  # however coarse the clock of the file system is
    assert parameters(conf)["seed"] == 7
    (conf / "local" / "globals.yml").write_text("seed: 8\n")
    assert parameters(conf)["seed"] == 8


def test_what_one_changes_no_other_sees(conf: Path) -> None:
    other, loader = (load_configuration(conf, None, {}) for _ in range(2))
    loader["parameters"]["block"]["seed"] = 9
    assert other["parameters"]["block"]["seed"] == loader["parameters"]["block"]["seed"] == 0
    loader["parameters"] = {"mine": 1}
    assert (loader["parameters"], parameters(conf)["seed"]) == ({"mine": 1}, 0)


def test_other_globals_change_the_parts_that_refer_to_them_in_this_loader_alone(conf: Path) -> None:
    assert parameters(conf)["seed"] == 0
    loader = load_configuration(conf, None, {})
    loader["globals"] = {"seed": 5}
    assert loader["parameters"]["block"]["seed"] == 5
    assert parameters(conf)["seed"] == 0


def test_kedros_settings_use_this_loader() -> None:
    from topwork import settings

    assert settings.CONFIG_LOADER_CLASS is ConfigLoader


def test_the_parameters_that_follow_a_main_one_are_known_by_their_files(conf: Path) -> None:
    assert following_parameters(conf) == {"block.seed"}
