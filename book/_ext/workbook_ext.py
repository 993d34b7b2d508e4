"""What the book needs from Sphinx beyond its configuration.

- Pages carry no Thebe script. Jupyter Book 1.x switches sphinx-thebe on for every page, whose inline scripts declare
  one constant twice (`THEBE_JS_URL has already been declared` in the console) and name a remote host.
- The API page documents the tree that is being built, not an installed copy, and shows the arguments of a class whose
  base is mocked.
- The list of references is a list to a screen reader too.
- A chapter shows its stamps: which machine, versions, commit and day its stored outputs come from.
"""

import html
import inspect
import json
import sys
from pathlib import Path

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


def show_stamps(app, pagename, templatename, context, doctree):
    """Put a chapter's stamps under its title; a chapter without one says so."""
    path = Path(app.srcdir) / f"{pagename}.ipynb"
    if not context.get("body") or not path.is_file():
        return
    stamps = json.loads(path.read_text(encoding="utf-8"))["metadata"].get("workbook", {})
    rows = "".join(stamp_row(lane, stamp, stamps["home"]) for lane, stamp in sorted(stamps.get("lanes", {}).items()))
    rows = rows or "<li>Outputs without a stamp: nobody knows what made them.</li>"
    box = f'<aside class="wb-stamps" aria-label="Where the outputs come from"><ul>{rows}</ul></aside>'
    context["body"] = context["body"].replace("</h1>", f"</h1>\n{box}", 1)


def stamp_row(lane, stamp, home):
    """One line for one lane of a chapter."""
    what = "Outputs" if lane == home else f"Outputs of the cells for {lane.upper()} alone"
    versions = ", ".join(f"{name} {version}" for name, version in stamp["versions"].items())
    driver = f", driver {stamp['driver']}" if stamp.get("driver") else ""
    took = f"{stamp['seconds']:.0f} s, at most {stamp['peak_mib'] / 1024:.1f} GiB of memory"
    if stamp.get("peak_gpu_mib"):
        took += f" and {stamp['peak_gpu_mib'] / 1024:.1f} GiB of GPU memory"
    facts = f"{stamp['device']}{driver}; {versions}; {took}; commit {stamp['commit']}, {stamp['date']}"
    return f"<li><strong>{what}</strong> from {html.escape(facts)}</li>"


def document_this_tree(app):
    """Put `src/` of the tree under build first on the import path, for autodoc."""
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
    app.connect("html-page-context", show_stamps)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
