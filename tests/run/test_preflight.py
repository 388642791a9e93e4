from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PROJECT
from topwork.core.errors import InputError
from topwork.decisions.strategies import BASIC, BLOCKS
from topwork.run.configuration import load_configuration, read_configuration
from topwork.run.preflight import (
    check_history,
    check_model,
    check_parameters,
    check_storages,
    check_texts,
    chosen_strategies,
    knob_names,
    pipelines_to_run,
    plain_parameters,
)

KNOBS = knob_names(PROJECT / "conf")


@pytest.fixture
def parameters() -> dict[str, Any]:
    return dict(load_configuration(PROJECT / "conf", None, {})["parameters"])


def test_the_projects_own_parameters_pass(parameters: dict[str, Any]) -> None:
    check_parameters({}, parameters, KNOBS)
    assert set(parameters) == {*BLOCKS, "strategies"}


@pytest.mark.parametrize("env", ["digits", "smoke", "wallpaper"])
def test_so_do_those_of_every_environment(env: str) -> None:
    parameters = load_configuration(PROJECT / "conf", env, {})["parameters"]
    check_parameters({}, parameters, KNOBS)
    assert parameters["split"]["test_fraction"] == 0.2  # an override keeps its siblings


def test_a_misspelt_knob_is_refused_with_the_nearest(parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="Unknown parameter 'imagse': perhaps images"):
        check_parameters({"imagse": "x"}, parameters, KNOBS)


def test_a_name_that_belongs_to_blocks_is_refused_with_them(parameters: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"'head': perhaps finetune\.head or distilled\.head\?"):
        check_parameters({"head": "random"}, parameters, KNOBS)


@pytest.mark.parametrize(
    ("block", "change", "message"),
    [
        ("features", {"batchsize": 8}, r"'features\.batchsize': perhaps features\.batch_size"),
        ("features", {"batch_size": 0}, r"features\.batch_size=0: input should be greater than 0"),
        ("features", {"pool": "mean"}, r"features\.pool='mean': input should be 'average', 'max' or 'none'"),
        ("split", {"test_fraction": 1.5}, r"split\.test_fraction=1\.5: input should be less than 1"),
        ("split", {"folds": "many"}, r"split\.folds='many': input should be a valid integer"),
        ("wallpaper", {"smallest_cell": 0.5}, r"^wallpaper: smallest_cell=0\.5 is above largest_cell=0\.4\.$"),
        (
            "wallpaper",
            {"difficulty": {"nois": 1}},
            r"'wallpaper\.difficulty\.nois': perhaps wallpaper\.difficulty\.noise\?",
        ),
        ("augmentation", {"flip": "left"}, r"augmentation\.flip='left': input should be 'none', 'horizontal'"),
        ("augmentation", {"views": -1}, r"augmentation\.views=-1: input should be greater than or equal to 0"),
        (
            "finetune",
            {"hidden": [64]},
            r"^finetune: hidden=\[64\] leaves no place for a probe; say head=random in this block too",
        ),
        ("svm", {"C": []}, r"svm\.C=\[\]: list should have at least 1 item"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_allowed(
    parameters: dict[str, Any], block: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        check_parameters({}, {**parameters, block: {**parameters[block], **change}}, KNOBS)


def test_a_main_parameter_is_named_as_it_was_typed_with_the_nearest_value(parameters: dict[str, Any]) -> None:
    given = {"fit": "atuo"}
    wrong = {**parameters, "features": {**parameters["features"], "fit": "atuo"}}
    with pytest.raises(InputError, match=r"^fit='atuo': input should be 'crop'.* or 'auto'; perhaps auto\?$"):
        check_parameters(given, wrong, KNOBS)
    with pytest.raises(InputError, match=r"^features\.fit='atuo'"):
        check_parameters({"features": given}, wrong, KNOBS)


def test_a_value_that_may_be_a_number_or_a_word_is_refused_once(parameters: dict[str, Any]) -> None:
    wrong = {**parameters, "features": {**parameters["features"], "image_size": "atuo"}}
    with pytest.raises(InputError, match=r"^image_size='atuo': input .* valid integer.*, or 'auto'; perhaps auto\?$"):
        check_parameters({"image_size": "atuo"}, wrong, KNOBS)


def test_strategies_are_joined_by_plus_and_run_cheapest_first() -> None:
    assert chosen_strategies("all") == BASIC
    assert chosen_strategies("all+ensemble") == chosen_strategies("auto+ensemble") == (*BASIC, "ensemble")
    assert chosen_strategies("svm+logistic") == ("logistic", "svm")
    assert chosen_strategies("svm") == ("svm",)
    known = re.escape("logistic+lda+svm+scratch+finetune+ensemble+distilled, all")
    with pytest.raises(InputError, match=rf"no strategy 'swm'; perhaps svm\? known are {known}"):
        chosen_strategies("logistic+swm")


def test_names_made_of_digits_stay_text_and_folders_are_the_callers(tmp_path: Path) -> None:
    raw = "images=007,data=~/out,weights=net.pth,backbone=2020,seed=7,features.batch_size=8"
    parsed = {"images": 7, "data": "~/out", "weights": "net.pth", "backbone": 2020, "seed": 7, "features": {}}
    plain = plain_parameters(raw, parsed, tmp_path)
    assert plain["images"] == str(tmp_path / "007")
    assert plain["data"] == str(Path.home() / "out")
    assert plain["weights"] == str(tmp_path / "net.pth")
    assert (plain["backbone"], plain["seed"]) == ("2020", 7)


def test_words_for_weights_are_no_files(tmp_path: Path) -> None:
    assert plain_parameters("weights=none", {"weights": "none"}, tmp_path) == {"weights": "none"}


def test_history_is_refused_where_no_run_has_listed_its_images(tmp_path: Path) -> None:
    configuration = read_configuration(PROJECT, PROJECT / "conf", None, {"data": str(tmp_path)})
    with pytest.raises(InputError, match="data=DIR"):
        check_history(["history"], configuration)
    check_history(["ingestion", "history"], tmp_path)
    (tmp_path / "02_intermediate").mkdir()
    (tmp_path / "02_intermediate/manifest.parquet").touch()
    check_history(["history"], configuration)


def test_a_champion_is_not_registered_under_what_is_no_name() -> None:
    with pytest.raises(InputError, match="plain name"):
        check_model(["__default__"], "models:/cats@champion")
    check_model(["__default__"], "cats")
    check_model(["prediction"], "models:/cats@champion")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("images=/a,b", r"'b' has no `=`. A comma ends a value.*--config run\.yml"),
        ("images=/a/${x}", r"images=/a/\$\{x\}: .* Rename the folder"),
        ({"images": "/a/${x}"}, "Rename the folder"),
        ("images=b\udcc3lder", "this shell's locale cannot tell which letters these are.*LC_ALL=C"),
    ],
)
def test_what_would_be_taken_apart_is_refused(raw: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_texts(raw)


def test_commas_in_a_file_and_several_parameters_are_none_of_that() -> None:
    check_texts("images=/a b,seed=3,")
    check_texts({"images": "/a,b", "seed": 3})
    with pytest.raises(InputError, match="Rename the folder"):
        plain_parameters("images=x", {"images": "x"}, Path("/home/${x}"))


def test_urls_stay_as_they_are_and_folders_become_absolute(tmp_path: Path) -> None:
    raw = "images=s3://bucket/a b,data=data,store=gs://bucket/store,new_images=memory://x/y"
    given = dict(item.split("=") for item in raw.split(","))
    assert plain_parameters(raw, given, tmp_path) == {**given, "data": str(tmp_path / "data")}


def test_a_data_folder_in_a_storage_keeps_its_url() -> None:
    given = {"images": "s3://bucket/flowers", "data": "memory://bucket/data", "store": "features"}
    configuration = read_configuration(PROJECT, PROJECT / "conf", None, given)
    catalog = configuration.open_catalog()
    assert catalog["images"]._describe()["path"] == "s3://bucket/flowers"
    assert catalog["promotion"]._describe()["name"] == "flowers"
    assert configuration.data.as_posix().endswith("/bucket/data")
    assert configuration.store == PROJECT / "features"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"cache": "s3://bucket/x"}, "cache=s3://bucket/x: give a folder of this machine"),
        ({"cache_gigabytes": "much"}, "cache_gigabytes=much: give the size"),
        ({"cache_gigabytes": -1}, "cache_gigabytes=-1: give the size"),
    ],
)
def test_a_cache_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    knobs = {"data": "data", "store": "store", "cache": None, "cache_gigabytes": 10, **given}
    with pytest.raises(InputError, match=message):
        check_storages(knobs)


def test_what_two_pipelines_need_runs_once_before_them() -> None:
    known = ["description", "labelling", "monitoring", "prediction"]
    assert pipelines_to_run(["labelling", "monitoring"], known, None) == ["description", "labelling", "monitoring"]
    assert pipelines_to_run(["prediction"], known, None) == ["prediction"]


def test_costs_and_a_wish_for_a_threshold_are_not_both_given() -> None:
    given = {"comparison": {"costs": {"ill": {"healthy": 20.0}}}, "evaluation": {"recall_at_least": 0.95}}
    parameters = load_configuration(PROJECT / "conf", None, given)["parameters"]
    with pytest.raises(InputError, match=r"comparison.costs and evaluation.recall_at_least both decide"):
        check_parameters(given, parameters, [*load_configuration(PROJECT / "conf", None, {})["globals"]])
