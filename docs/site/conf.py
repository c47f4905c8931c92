"""Sphinx's settings for the pages that `build.py` writes."""

import jaxlab

project = "jaxlab"
author = "The jaxlab authors"
project_copyright = "The jaxlab authors, Apache-2.0"
version = release = jaxlab.__version__

extensions = ["myst_nb", "sphinx_design"]
exclude_patterns = ["results/*.md"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "off"  # tests execute the notebooks and the code of the pages
nb_ipywidgets_js = {}  # no widgets, so nothing to fetch for them
add_module_names = False
toc_object_entries_show_parents = "hide"

html_theme = "sphinx_book_theme"
html_title = "jaxlab"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["sort.js"]
html_show_sourcelink = False
html_context = {"default_mode": "auto"}
html_theme_options = {
    "show_toc_level": 2,
    "show_navbar_depth": 1,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "home_page_in_toc": False,
    "navbar_persistent": [],
}
