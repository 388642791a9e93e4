"""Sphinx directives for the tables that are made at build time: `{parameters} BLOCK` and `{catalog}`."""

from __future__ import annotations

from typing import Any

from catalog_table import CATALOG, catalog_table
from docutils.nodes import Node
from parameter_tables import CONF, parameter_table
from sphinx.util.docutils import SphinxDirective


class ParametersDirective(SphinxDirective):
    """The table of a parameter block, or of the main parameters."""

    required_arguments = 1

    def run(self) -> list[Node]:
        """The table; its page is built again when a file in `conf/base/` changes."""
        for path in CONF.glob("*.yml"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(parameter_table(self.arguments[0]))


class CatalogDirective(SphinxDirective):
    """The table of the catalog's files."""

    def run(self) -> list[Node]:
        """The table; its page is built again when the catalog changes."""
        self.env.note_dependency(str(CATALOG))
        return self.parse_text_to_nodes(catalog_table())


def setup(app: Any) -> dict[str, bool]:
    """Add the directives."""
    app.add_directive("parameters", ParametersDirective)
    app.add_directive("catalog", CatalogDirective)
    return {"parallel_read_safe": True}
