"""Markdown tables of the parameters: names, defaults and comments of `conf/base/*.yml`, ranges of the typed blocks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from topwork.decisions.strategies import BLOCKS

CONF = Path(__file__).parents[2] / "conf" / "base"
MAIN = "globals"
"""The name under which the main parameters are asked for, which stand in `globals.yml`."""
_LIKE = {"logistic": "svm", "lda": "svm", "scratch": "finetune", "distilled": "finetune"}
"""Blocks whose parameters are commented where another block has them first."""
_LINE = re.compile(r"^(?P<indent> *)(?P<name>\w+):(?: +(?P<value>[^#\s][^#]*?))?(?: +# (?P<comment>.*))?$")
_MAIN_ONE = re.compile(r"\$\{runtime_params:(\w+),")  # a default that is a main parameter
_OF_ALL = {
    "seed": "seed of all that is random, besides the splits",
    "split_seed": "seed of the splits",
    "max_pixels": "a larger image is rejected",
}
"""Meanings of parameters without a comment, which have the same name everywhere."""


@dataclass(frozen=True)
class Declared:
    """A parameter as it stands in a file: dotted name, default as written there, comment."""

    name: str
    default: str
    comment: str


def declared(text: str) -> Iterator[Declared]:
    """The parameters of a file of `conf/base/`, and the blocks that hold them, which have no default."""
    inside: list[str] = []
    for found in filter(None, map(_LINE.match, text.splitlines())):
        inside = [*inside[: len(found["indent"]) // 2], found["name"]]
        yield Declared(".".join(inside), found["value"] or "", found["comment"] or "")


def parameter_table(block: str, conf: Path = CONF) -> str:
    """The table of a block (`features`), or of the main parameters (`globals`), in Markdown."""
    every = {each.name: each for path in sorted(conf.glob("*.yml")) for each in declared(path.read_text("utf-8"))}
    if block == MAIN:
        return _main_table(declared((conf / f"{MAIN}.yml").read_text("utf-8")))
    rows = [_row(name, values, every) for name, values in _ranges(BLOCKS[block].model_json_schema(), block)]
    return _table(("name", "default", "values", "meaning"), rows)


def _main_table(main: Iterable[Declared]) -> str:
    rows = [(_code(p.name), _code(p.default), _prose(p.comment or _OF_ALL.get(p.name, ""))) for p in main]
    return _table(("name", "default", "meaning"), rows)


def _row(name: str, values: str, every: Mapping[str, Declared]) -> tuple[str, ...]:
    block, _, last = name.partition(".")
    like = every.get(f"{_LIKE.get(block, block)}.{last}")
    main = _MAIN_ONE.match(every[name].default)
    others = (like, every.get(main[1]) if main else None)
    comment = next((each.comment for each in (every[name], *others) if each and each.comment), _OF_ALL.get(last, ""))
    return _code(name), _default(every[name].default), values, _prose(comment)


def _ranges(schema: Mapping[str, Any], prefix: str, root: Mapping[str, Any] | None = None) -> Iterator[tuple[str, str]]:
    """Dotted names and allowed values of a block, from its JSON schema; blocks inside it are gone through as well."""
    root = root or schema
    for name, each in schema["properties"].items():
        if "$ref" in each:
            yield from _ranges(root["$defs"][each["$ref"].rsplit("/", 1)[-1]], f"{prefix}.{name}", root)
        else:
            yield f"{prefix}.{name}", values_in_words(each)


def values_in_words(schema: Mapping[str, Any]) -> str:
    """The allowed values of a parameter, from its JSON schema, such as `integer, at least 1, or null`."""
    if "anyOf" in schema:
        return " or ".join(values_in_words(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(_code, schema["enum"]))
    if "const" in schema:
        return _code(str(schema["const"]))
    if schema.get("type") == "array":
        kinds = schema.get("prefixItems")
        return "pair of numbers" if kinds else f"list of: {values_in_words(schema['items'])}"
    words = {"boolean": "true or false", "string": "text", "null": "null", "object": "table"}
    return words.get(schema["type"], f"{schema['type']}{_bounds(schema)}")


def _bounds(schema: Mapping[str, Any]) -> str:
    words = {"minimum": "at least", "exclusiveMinimum": "above", "maximum": "at most", "exclusiveMaximum": "below"}
    found = [f"{word} {schema[key]:g}" for key, word in words.items() if key in schema]
    return "".join(f", {each}" for each in found)


def _default(text: str) -> str:
    main = _MAIN_ONE.match(text)
    return f"as [`{main[1]}`](#main-parameters)" if main else _code(text)


def _prose(comment: str) -> str:
    linked = re.sub(r"docs/([\w/-]+)\.md", _linked, comment)
    return linked.replace("|", r"\|").replace("*", r"\*")


def _linked(page: re.Match[str]) -> str:
    return f"[{page[1]}](/{page[1]}.md)" if (CONF.parents[1] / page[0]).exists() else page[0]


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
