"""What the README and the pages in `docs/` say can be typed, opened and found."""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml
from kedro.framework.cli.utils import _split_params
from kedro.framework.project import pipelines
from kedro.utils import load_obj

from topwork.core.parameters import parameter_names
from topwork.decisions.strategies import BLOCKS, STRATEGIES
from topwork.run.configuration import load_configuration
from topwork.run.cost_table import with_costs
from topwork.run.preflight import FOLDERS, check_parameters, check_texts, checked_seconds, knob_names, plain_parameters

PROJECT = Path(__file__).parents[1]
README = PROJECT / "README.md"
PAGES = [
    README,
    PROJECT / "CONTRIBUTING.md",
    *sorted(path for path in (PROJECT / "docs").rglob("*.md") if "_build" not in path.parts),
]
SHELL = re.compile(r"^ *```(?:sh|shell|bash)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
FENCE = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
LONGEST = 40


def commands_of(page: Path) -> list[list[str]]:
    """The words of each command in the shell blocks of a page, and in code inside its text, without comments."""
    text = page.read_text(encoding="utf-8")
    lines = "\n".join(SHELL.findall(text)).replace("\\\n", " ").splitlines()
    lines += re.findall(r"`((?:kedro run|make) [^`]+)`", FENCE.sub("", text))
    return [words for line in lines if (words := _words(line))]


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line.replace(r"\|", "|"), comments=True)
    except ValueError:  # a line of a command over several lines
        return []


def arguments_of(program: list[str]) -> Iterator[tuple[Path, list[str]]]:
    """Each page with the arguments of each command of this program on it."""
    for page in PAGES:
        for words in commands_of(page):
            for place in range(len(words)):
                if [words[place].rpartition("/")[2], *words[place + 1 : place + len(program)]] == program:
                    yield page, words[place + len(program) :]
                    break


def options_of(name: str) -> list[str]:
    """The values, wherever `kedro run` is given this option; names in capitals stand for those of the reader."""
    runs = [words for _, words in arguments_of(["kedro", "run"])]
    values = [value for words in runs if name in words for value in words[words.index(name) + 1 :][:1]]
    return [value for value in values if not value.isupper()]


def together(texts: Iterable[str]) -> list[str]:
    """Texts of all these parameters, of which none has two of one block: reading the configuration takes its time."""
    packs: list[dict[str, str]] = []
    for text in sorted(texts):
        pairs = [pair for pair in text.split(",") if pair.partition("=")[0] not in FOLDERS]
        blocks = {re.split("[.=]", pair)[0] for pair in pairs}
        pack = next((pack for pack in packs if not blocks & set(pack)), None)
        if pack is None:
            packs.append(pack := {})
        pack.update({block: ",".join(pair for pair in pairs if re.split("[.=]", pair)[0] == block) for block in blocks})
    return [",".join(pack.values()) for pack in packs if pack]


@cache
def anchors_of(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def sentences_of(text: str) -> list[str]:
    """Headings, sentences and cells of tables, without code blocks and the targets of links."""
    plain = re.sub(r"\]\([^)]*\)", "]", FENCE.sub("", text))
    cells = re.sub(r"^\|.*$", lambda row: row[0].replace("|", "\n\n"), plain, flags=re.MULTILINE)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[*#]|\d+\.) )", cells)
    return [part for block in blocks for part in re.split(r"[.!?](?:\s|$)", " ".join(block.split())) if part]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes the tables of the parameters for the documentation."""
    monkeypatch.syspath_prepend(PROJECT / "docs" / "_ext")
    import parameter_tables

    monkeypatch.delitem(sys.modules, "parameter_tables")
    return parameter_tables


def test_parameters_that_pages_give_are_known_and_in_range(tmp_path: Path) -> None:
    (tmp_path / "costs.csv").write_text("true,healthy,ill\nill,20,0\n")  # the file that pages name
    conf, context = PROJECT / "conf", click.Context(click.Command("run"))
    told = set(options_of("--params")) - {"name=value,name=value"}
    with_a_file = {text for text in told if "comparison.costs=" in text}  # which does not go with a threshold
    texts = [*together(told - with_a_file), *with_a_file]
    for text in texts:
        check_texts(text)
        given = with_costs(plain_parameters(text, _split_params(context, None, text), PROJECT), tmp_path)
        check_parameters(given, load_configuration(conf, None, given)["parameters"], knob_names(conf))
        checked_seconds(given.get("minutes"))
    assert len(texts) > 3


def test_pipelines_namespaces_and_environments_that_pages_give_exist(project: Path) -> None:
    pipelines.set_requested(None)  # a run in the same process asks for some
    known = {*pipelines, *STRATEGIES}
    asked = options_of("--pipelines") + options_of("--namespaces")
    assert {name for value in asked for name in value.split(",")} - known == set()
    assert [value for value in options_of("--env") if not (PROJECT / "conf" / value).is_dir()] == []


def test_targets_of_make_that_pages_give_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (PROJECT / "Makefile").read_text(), re.MULTILINE))
    known = {name for names in targets for name in names.split()}
    told = {words[0] for _, words in arguments_of(["make"]) if re.fullmatch(r"[a-z-]+", words[0])}
    assert {"setup", "run", "test", "docs"} <= told
    assert told - known == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_links_lead_to_files_and_headings_that_exist(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors_of(linked), target


def test_the_readme_is_short_and_has_no_long_sentences() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.split()) <= 2_000
    assert [each for each in sentences_of(text) if len(each.split()) > LONGEST] == []


def test_the_page_of_parameters_has_every_block() -> None:
    page = (PROJECT / "docs" / "reference" / "parameters.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^```{parameters} (\w+)$", page, re.MULTILINE)) == {*BLOCKS, "globals"}


@pytest.mark.parametrize("block", BLOCKS)
def test_the_table_of_a_block_has_every_parameter_with_values_and_meaning(block: str, tables: ModuleType) -> None:
    row = re.compile(r"^\| `([\w.]+)` \| .*? \| (.*?) \| (.*) \|$", re.MULTILINE)
    rows = {name: (values, meaning) for name, values, meaning in row.findall(tables.parameter_table(block))}
    names = list(parameter_names(BLOCKS[block], block))
    assert [*rows] == [name for name in names if not any(other.startswith(f"{name}.") for other in names)]
    assert [name for name, told in rows.items() if not all(told)] == []


def test_the_table_of_the_main_parameters_has_every_one(tables: ModuleType) -> None:
    names = re.findall(r"^\| `(\w+)` ", tables.parameter_table("globals"), re.MULTILINE)
    assert names == knob_names(PROJECT / "conf")


def test_values_are_told_with_their_range(tables: ModuleType) -> None:
    told: Any = tables.values_in_words
    assert told({"type": "integer", "minimum": 3, "maximum": 20}) == "integer, at least 3, at most 20"
    assert told({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}]}) == "number, above 0 or null"
    assert told({"enum": ["always", "never"], "type": "string"}) == "`always`, `never`"


def test_catalog_entries_that_pages_show_have_a_class_that_exists() -> None:
    page = (PROJECT / "docs" / "how-to" / "kedro-project.md").read_text(encoding="utf-8")
    entries = [yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)]
    assert [load_obj(entry["type"]) for block in entries for entry in block.values()]


def test_errors_in_the_troubleshooting_are_those_of_the_program() -> None:
    page = (PROJECT / "docs" / "reference" / "troubleshooting.md").read_text(encoding="utf-8")
    told = " ".join(map(_texts_of, sorted((PROJECT / "src").rglob("*.py"))))
    parts = [part.strip() for head in re.findall(r"^### (.+)$", page, re.MULTILINE) for part in re.split("[…;]", head)]
    assert [part for part in parts if part not in told] == []


def _texts_of(source: Path) -> str:
    """All texts in a file of code, as they stand in messages."""
    nodes = ast.walk(ast.parse(source.read_text(encoding="utf-8")))
    return " ".join(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))
