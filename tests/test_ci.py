"""The recipes for continuous integration, the templates of issues, and what the version is called."""

from __future__ import annotations

import json
import os
import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import topwork
from tests.conftest import PROJECT

CHECK = PROJECT / "deploy" / "ci" / "check_champion.py"
PAGE = PROJECT / "docs" / "how-to" / "ci.md"
TEMPLATES = sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
SCORES = {"oof_accuracy": 0.9, "oof_accuracy_low": 0.86, "oof_accuracy_high": 0.93}


def check(folder: Path, floor: str, **champion: Any) -> str | None:
    """What `check_champion.py` fails with, if it does."""
    (folder / "champion.json").write_text(json.dumps({"strategy": "lda", **SCORES, **champion}))
    try:
        runpy.run_path(str(CHECK))["main"](floor, str(folder / "champion.json"))
    except SystemExit as stop:
        return str(stop.code)
    return None


def test_a_champion_passes_if_its_whole_interval_lies_above_the_floor(tmp_path: Path) -> None:
    assert check(tmp_path, "0.85") is None
    assert check(tmp_path, "0.88") == "lda: accuracy out of fold 0.900 [0.860, 0.930], floor 0.88: too low."


def test_a_run_without_a_champion_fails_with_its_reason(tmp_path: Path) -> None:
    assert check(tmp_path, "0.1", strategy=None, reason="no strategy has a score") == (
        "There is no champion: no strategy has a score."
    )


def test_the_recipes_of_the_page_start_the_script_with_what_it_needs() -> None:
    recipes = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    github, gitlab = map(yaml.safe_load, recipes)
    (step,) = [each for each in github["jobs"]["train"]["steps"] if "run" in each]
    assert step["run"] == gitlab["pages"]["script"] == "deploy/ci/train"
    assert step["env"] == gitlab["pages"]["variables"]
    assert {"IMAGES", "FLOOR"} <= set(step["env"])
    assert os.access(PROJECT / step["run"], os.X_OK)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.stem)
def test_the_forms_of_issues_have_what_github_asks_for(template: Path) -> None:
    form = yaml.safe_load(template.read_text(encoding="utf-8"))
    if template.stem != "config":
        assert {"name", "description", "body"} <= form.keys()
        assert all(field["attributes"]["label"] for field in form["body"])
        assert len({field["id"] for field in form["body"]}) == len(form["body"])


def test_the_version_stands_in_one_place() -> None:
    pyproject = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["dynamic"] == ["version"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "topwork.__version__"}


def test_the_newest_release_in_the_changelog_is_this_version_and_only_what_is_unreleased_stands_above_it() -> None:
    changelog = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", changelog, re.MULTILINE)
    released = [head for head in heads if head != "Unreleased"]
    assert heads[0] in {"Unreleased", topwork.__version__}
    assert released[:1] in ([], [topwork.__version__])
