"""Measured numbers in the text: each says, on hover, on what it was measured, at which commit, on which day.

The text holds spans such as ``<span data-result="auroc:.3f">0.162</span>``. `helpers.teaching.results` fills them and
checks the number; here a span gets its look and its origin. One that names no chapter, or a lane that never ran, is a
warning of the build.
"""

import html
import re

from chapter_card import read_chapter
from docutils import nodes
from sphinx.util import logging

LANES = ("gpu", "cpu")
SPAN = re.compile(r'<span data-result="([^":]+)(:[^"]*)?">')

logger = logging.getLogger(__name__)


def name_origins(app, doctree):
    """Give each measured number of a page its class and its title."""
    page = app.env.docname
    for node in list(doctree.findall(nodes.raw)):
        if node.get("format") != "html" or "data-result=" not in node.astext():
            continue

        def opened(span, node=node):
            try:
                chapter, title = origin(app, page, span[1])
            except LookupError as fault:
                logger.warning("data-result=%s: %s", span[1], fault.args[0], location=node)
                return span[0]
            app.env.note_dependency(f"{chapter}.ipynb")
            return f'{span[0][:-1]} class="wb-result" title="{html.escape(title)}">'

        text = SPAN.sub(opened, node.astext())
        if text.count("data-result=") != len(SPAN.findall(node.astext())):
            logger.warning('%s: expected <span data-result="name:.3f">', text, location=node)
        node.replace_self(nodes.raw("", text, format="html"))


def origin(app, page, reference):
    """The chapter that a reference names, and a sentence on where it was measured.

    A reference is ``name``, ``lane/name``, ``chapter/name`` or ``chapter/lane/name``; no lane means the home lane.
    """
    *where, _ = reference.split("/")
    lane = where.pop() if where and where[-1] in LANES else None
    chapter = f"notebooks/{where.pop()}" if where else page
    notebook = read_chapter(app, chapter)
    if where or notebook is None:
        raise LookupError(f"there is no chapter {chapter}.ipynb")
    meta = notebook["metadata"].get("workbook", {})
    lane = lane or meta.get("home")
    if lane not in meta.get("lanes", {}):
        raise LookupError(f"{chapter}.ipynb has no stamp{f' of lane {lane}' if lane else ''}; run workbook execute")
    stamp = meta["lanes"][lane]
    inside = "" if chapter == page else f" in chapter {chapter.removeprefix('notebooks/').partition('_')[0]}"
    return chapter, f"Measured{inside} on {stamp['device']}, commit {stamp['commit']}, {stamp['date']}"
