"""The page "Field notes, checked": its claims as data, its counts, and an anchor for each claim.

The claims stand in the page itself, as definition lists that can be read anywhere. `read_claims` reads them from its
text, for the counts that the page shows (the directives `verdict-counts` and `claims-to-come`) and for the tests. It
judges nothing: whether a link leads somewhere is a matter of the build and of `tests/book/test_field_notes.py`.
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from anchors import add_target
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

VERDICTS = {
    "True": "as the note says it",
    "True with a limit": "right within bounds that the note does not give",
    "Wrong reason": "the fix works, and not for the reason that the note gives",
    "Wrong": "does not hold, or no longer",
    "Not checkable": "nobody but its author could have measured it",
}
CLAIM = re.compile(
    r"^(?P<name>[A-D]\d+)\. (?P<says>[^\n]+)\n: \*\*(?P<verdict>[^*]+)\.\*\*(?P<rest>.*?)(?=\n\s*\n|\Z)", re.M | re.S
)
BEGINS = re.compile(r"^([A-D]\d+)\.", re.M)
LAB = re.compile(r"\]\(\.\./notebooks/(\w+)\.ipynb(?:#lab-([\w-]+))?\)")
TO_COME = re.compile(r"\*To come:\* chapters? (\d\d(?:(?:, | and )\d\d)*)\.")


@dataclass(frozen=True)
class Claim:
    """One claim of a note.

    Attributes
    ----------
    name : str
        The letter of its note and a number, ``"A1"``.
    says : str
        What the note says: a short quotation, or our words.
    verdict : str
        One of `VERDICTS`.
    labs : tuple of (str, str)
        Chapter and lab of each cell that shows it; the lab is empty where the chapter as a whole does.
    to_come : tuple of str
        Numbers of the chapters that will show it, and do not exist yet.
    sources : tuple of str
        Addresses that the evidence links to.
    """

    name: str
    says: str
    verdict: str
    labs: tuple[tuple[str, str], ...]
    to_come: tuple[str, ...]
    sources: tuple[str, ...]


def read_claims(text):
    """The claims of the page, in its order.

    Raises
    ------
    ValueError
        A claim that is not written as the page's comment says, or a verdict that is none.
    """
    claims = []
    for found in CLAIM.finditer(text):
        evidence = found["rest"]
        if found["verdict"] not in VERDICTS:
            raise ValueError(f"{found['name']}: verdict {found['verdict']!r}; expected one of {', '.join(VERDICTS)}")
        coming = [number for group in TO_COME.findall(evidence) for number in re.findall(r"\d\d", group)]
        sources = re.findall(r"\]\((https?://[^)\s]+)\)", evidence)
        labs = [(chapter, lab) for chapter, lab in LAB.findall(evidence)]
        claims.append(Claim(found["name"], found["says"], found["verdict"], tuple(labs), tuple(coming), tuple(sources)))
    unread = set(BEGINS.findall(text)) - {claim.name for claim in claims}
    if unread:
        raise ValueError(f"no verdict read for {', '.join(sorted(unread))}; expected a line ': **Verdict.** evidence'")
    return claims


class VerdictCounts(SphinxDirective):
    """A table of the verdicts: what each means, and how many claims of each note have it."""

    def run(self):
        claims = page_claims(self)
        notes = sorted({claim.name[0] for claim in claims})
        rows = [["Verdict", *notes, "all"], ["---", *["--:"] * (len(notes) + 1)]]
        for verdict, meaning in VERDICTS.items():
            count = Counter(claim.name[0] for claim in claims if claim.verdict == verdict)
            rows.append([f"**{verdict}**: {meaning}", *(count[note] for note in notes), count.total()])
        count = Counter(claim.name[0] for claim in claims)
        rows.append(["**All**", *(count[note] for note in notes), count.total()])
        return parsed(self, [f"| {' | '.join(map(str, row))} |" for row in rows])


class ClaimsToCome(SphinxDirective):
    """A sentence: how many claims a cell shows today, and how many wait for which chapter."""

    def run(self):
        claims = page_claims(self)
        waiting = Counter(number for claim in claims for number in claim.to_come)
        shown = sum(bool(claim.labs) for claim in claims)
        text = f"A chapter of today shows {shown} of the {len(claims)} claims."
        if waiting:
            each = ", ".join(f"{number}\N{NO-BREAK SPACE}({count})" for number, count in sorted(waiting.items()))
            text += f" {sum(bool(c.to_come) for c in claims)} wait for chapters to come; by chapter: {each}."
        return parsed(self, [text])


def page_claims(directive):
    """The claims of the page that a directive stands on."""
    return read_claims(Path(directive.env.doc2path(directive.env.docname)).read_text(encoding="utf-8"))


def parsed(directive, lines):
    """Markdown, as the page's own."""
    held = nodes.container()
    directive.state.nested_parse(StringList(lines, "verdicts"), 0, held)
    return held.children


def name_claims(app, doctree):
    """Give each claim its anchor, `#a1`."""
    for term in doctree.findall(nodes.term):
        if found := re.match(r"([A-D]\d+)\. ", term.astext()):
            name = found[1].lower()
            term["ids"].append(name)
            add_target(app.env, name)


def setup(app):
    app.add_directive("verdict-counts", VerdictCounts)
    app.add_directive("claims-to-come", ClaimsToCome)
    app.connect("doctree-read", name_claims)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
