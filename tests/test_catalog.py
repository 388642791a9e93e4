"""What the catalog, the parameters and the pipelines say of one another agrees."""

from __future__ import annotations

from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from kedro.framework.project import pipelines
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline

from topwork.decisions.strategies import BLOCKS
from topwork.run.configuration import load_configuration

BY_THE_RUN_ITSELF = {"{strategy}.logged_model", "{strategy}.timings", "complete_run", "granted_minutes"}


@pytest.fixture(scope="module")
def every_pipeline(project: Path) -> list[Pipeline]:
    pipelines.set_requested(None)
    return list(dict(pipelines).values())  # examples write the same entry, so there is no sum of all


@pytest.fixture(scope="module")
def catalog_entries(project: Path) -> dict[str, Any]:
    entries = load_configuration(project / "conf", None, {})["catalog"]
    return {name: entry for name, entry in entries.items() if not name.startswith("_")}


def entry_of(name: str, catalog: DataCatalog, catalog_entries: dict[str, Any]) -> str:
    """The entry of a dataset: its own, or that of a pattern which it matches."""
    return name if name in catalog_entries else catalog.config_resolver.match_dataset_pattern(name) or name


def datasets_of(every_pipeline: list[Pipeline]) -> set[str]:
    return {name for pipeline in every_pipeline for name in pipeline.datasets()}


def test_every_dataset_between_nodes_is_in_the_catalog(
    every_pipeline: list[Pipeline], catalog_entries: dict[str, Any]
) -> None:
    catalog = DataCatalog.from_config(catalog_entries)
    names = {name for name in datasets_of(every_pipeline) if not name.startswith("params:")}
    assert {name for name in names if name not in catalog} == set()


def test_every_catalog_entry_is_used(every_pipeline: list[Pipeline], catalog_entries: dict[str, Any]) -> None:
    catalog = DataCatalog.from_config(catalog_entries)
    used = {entry_of(name, catalog, catalog_entries) for name in datasets_of(every_pipeline)}
    assert set(catalog_entries) - used == BY_THE_RUN_ITSELF


def test_every_entry_that_is_seen_has_a_layer(catalog_entries: dict[str, Any]) -> None:
    without = {name for name, entry in catalog_entries.items() if "kedro-viz" not in entry.get("metadata", {})}
    assert without == BY_THE_RUN_ITSELF


def test_data_flows_from_layer_to_layer_and_never_back(catalog_entries: dict[str, Any]) -> None:
    catalog = DataCatalog.from_config(catalog_entries)

    def layer(name: str) -> str:
        entry = catalog_entries.get(entry_of(name, catalog, catalog_entries), {})
        return str(entry.get("metadata", {}).get("kedro-viz", {}).get("layer", ""))

    before: dict[str, set[str]] = {}
    for node in pipelines["__default__"].nodes:
        for output in map(layer, node.outputs):
            before.setdefault(output, set()).update({layer(name) for name in node.inputs} - {output, ""})
    order = list(TopologicalSorter(before).static_order())  # a cycle is an error, and kedro-viz then shows no layers
    assert [name for name in order if name] == [
        *("raw", "intermediate", "feature", "primary", "model_input", "models", "model_output", "reporting")
    ]


def test_every_parameter_block_is_typed_declared_and_used(every_pipeline: list[Pipeline], project: Path) -> None:
    declared = load_configuration(project / "conf", None, {})["parameters"]
    used: dict[str, set[type]] = {}
    for node in [node for pipeline in every_pipeline for node in pipeline.nodes]:
        hints = [hint for name, hint in get_type_hints(node.func).items() if name != "return"]
        for name, hint in zip(node.inputs, hints, strict=False):
            if name.startswith("params:"):
                used.setdefault(name.removeprefix("params:"), set()).add(hint)
    assert used == {name: {type_} for name, type_ in BLOCKS.items()}
    assert set(BLOCKS) == set(declared) - {"strategies"}


def test_the_default_run_makes_no_example(project: Path) -> None:
    names = {node.name for node in pipelines["__default__"].nodes}
    assert "digits.render_digits" not in names
    assert {
        "ingestion.inspect_images",
        "features.extract_features",
        "svm.train",
        "comparison.build_leaderboard",
    } <= names


def test_features_never_know_the_split(project: Path) -> None:
    assert not {"splits", "previous_splits"} & pipelines["features"].datasets()
