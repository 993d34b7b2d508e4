"""Links to places that are no headings: `[lab](../notebooks/02_loader.ipynb#lab-glibc)`.

MyST resolves a fragment of a link between pages among the headings alone. Here the anchors that a page writes as
``<a id="lab-glibc"></a>``, which work on Colab and GitHub too, are made known to it. An anchor that does not exist
stays a warning of the build.
"""

import re

from docutils import nodes

ANCHOR = re.compile(r'<a id="([^"]+)">')


def collect_anchors(app, doctree):
    """Make the `<a id="...">` of a page known as targets of links."""
    for node in doctree.findall(nodes.raw):
        for name in ANCHOR.findall(node.astext()):
            add_target(app.env, name)


def add_target(env, name):
    """Let `[text](this page#name)` resolve; the element with this id is the caller's."""
    slugs = env.metadata[env.docname].setdefault("myst_slugs", {})
    slugs.setdefault(name, (0, name, name))
