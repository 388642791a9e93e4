"""Sphinx's settings: `make docs` writes the pages to `docs/_build/html`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "Topwork"
author = "the authors of Topwork"
project_copyright = "the authors of Topwork, Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "generated_tables"]
exclude_patterns = ["_build"]

smartquotes = False  # options such as --port stay as they are typed
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

default_role = "code"  # docstrings have their code in single backticks, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
nitpick_ignore_regex = [("py:.*", ".*")]  # types of other packages, which are not looked up: a build needs no network

html_theme = "furo"
html_title = "Topwork"
