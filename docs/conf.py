"""Sphinx: the site of the project (``make docs``).

Pages are read where they lie, so that a link works in the repository and on the site alike; `docs/pages` makes the reference.
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.pages import site  # noqa: E402
from gradsiege import __version__  # noqa: E402

project = "GradSiege"
author = "the GradSiege contributors"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "docs/index"
include_patterns = site.PAGES
exclude_patterns = site.passed_over(ROOT)
source_suffix = {".md": "markdown"}
myst_heading_anchors = 3

myst_enable_extensions = ["colon_fence"]
# A type whose name several modules define is shown without a link.
suppress_warnings = ["ref.python"]
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = f"GradSiege {__version__}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["front"]
html_show_sourcelink = False
html_show_copyright = False
highlight_language = "default"
copybutton_exclude = ".linenos, .gp"


def setup(app: object) -> None:
    """Make the reference before Sphinx reads the pages."""
    site.connect(app)
