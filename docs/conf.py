"""How Sphinx builds the documentation: ``sphinx-build -W --keep-going -b html docs site``."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]  # of this checkout, before a package that is installed

from limelight import __version__  # noqa: E402

project = "Limelight"
author = "The Limelight maintainers"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib.bibtex",
    "reference",  # _ext/reference.py
]
exclude_patterns = ["_ext", "_static"]
smartquotes = False
nitpicky = True
nitpick_ignore_regex = [("py:.*", ".*")]  # types of PyTorch, NumPy and Python, whose documentation is elsewhere

myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # pages that begin below the first level

# Notebooks are stored without what they print; "force" runs them all, and takes minutes.
nb_execution_mode = os.environ.get("NOTEBOOKS", "off")
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # the viewer is shown as its picture: its scripts would come from another host
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]

autodoc_typehints = "none"  # what an argument may be stands beside it
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
napoleon_custom_sections = [("Source", "notes_style")]
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False

bibtex_bibfiles = ["../references.bib"]
bibtex_reference_style = "author_year"
bibtex_default_style = "unsrt"

html_theme = "furo"
pygments_dark_style = "github-dark"
html_title = "Limelight"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["../llms.txt"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "top_of_page_buttons": [],  # what is generated has no source to show
    "source_repository": "https://github.com/limelight-xai/limelight/",
    "source_branch": "main",
    "source_directory": "docs/",
}
