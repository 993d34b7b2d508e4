"""What the book needs from Sphinx beyond its configuration.

- Pages carry no Thebe script. Jupyter Book 1.x switches sphinx-thebe on for every page, whose inline scripts declare
  one constant twice (`THEBE_JS_URL has already been declared` in the console) and name a remote host.
- The API page documents the tree that is being built, not an installed copy, and shows the arguments of a class whose
  base is mocked.
- The list of references is a list to a screen reader too.
- A figure that is wider than a phone can be reached and moved by the keyboard.
- A chapter can be launched locally too: the menu under the rocket says how.
- A chapter opens with a card of what it takes (`chapter_card`), and a measured number says where it comes from
  (`measured_numbers`).
- Labs and claims can be linked from other pages (`anchors`); the page of claims counts its verdicts (`field_notes`).
"""

import inspect
import sys
from pathlib import Path

from anchors import collect_anchors
from chapter_card import show_card
from measured_numbers import name_origins
from sphinx.util.inspect import stringify_signature


def drop_thebe(app, pagename, templatename, context, doctree):
    """Take every script that belongs to Thebe off the page."""

    def belongs_to_thebe(script):
        name = str(getattr(script, "filename", None) or script)
        body = str(getattr(script, "attributes", {}).get("body", ""))
        return "thebe" in (name + body).lower()

    scripts = context.get("script_files")
    if scripts:
        context["script_files"] = [script for script in scripts if not belongs_to_thebe(script)]


def name_list_items(app, pagename, templatename, context, doctree):
    """Call the entries of a citation list list items: docutils gives them a role that no list may hold."""
    if context.get("body"):
        context["body"] = context["body"].replace(' role="doc-biblioentry"', ' role="listitem"')


def let_figures_scroll(app, pagename, templatename, context, doctree):
    """Let the keyboard reach an output with a figure: on a phone it is wider than the page and moves sideways."""
    if context.get("body"):
        output = '<div class="cell_output docutils container"'
        context["body"] = context["body"].replace(f"{output}>\n<img", f'{output} tabindex="0">\n<img')


def offer_local_run(app, pagename, templatename, context, doctree):
    """Put "Run locally" beside Colab in the launch menu, which the theme gives to chapters alone."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            url = context["pathto"]("book/how_to_use") + "#run-locally"
            tooltip = "How to run this chapter on your own machine"
            group["buttons"].append(
                {"type": "link", "text": "Run locally", "tooltip": tooltip, "icon": "fas fa-laptop-code", "url": url}
            )


def document_this_tree(app):
    """Put `src/` of the tree under build first on the import path, for autodoc and for the prices of the card."""
    sys.path.insert(0, str(Path(app.srcdir) / "src"))


def show_init_arguments(app, what, name, obj, options, signature, return_annotation):
    """Give a class its own arguments where autodoc has found those of a mocked base, `(*args, **kwargs)`."""
    if what != "class" or signature != "(*args, **kwargs)" or "__init__" not in vars(obj):
        return None
    found = inspect.signature(obj.__init__)
    without_self = found.replace(parameters=list(found.parameters.values())[1:])
    return stringify_signature(without_self, show_annotation=False), return_annotation


def setup(app):
    app.connect("builder-inited", document_this_tree)
    app.connect("autodoc-process-signature", show_init_arguments)
    app.connect("html-page-context", drop_thebe, priority=900)  # after sphinx-thebe has added its own
    app.connect("html-page-context", name_list_items)
    app.connect("html-page-context", show_card)
    app.connect("html-page-context", let_figures_scroll)
    app.connect("html-page-context", offer_local_run, priority=900)  # after the theme has made its menu
    app.connect("doctree-read", name_origins)
    app.connect("doctree-read", collect_anchors)
    app.setup_extension("field_notes")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
