"""Measured numbers in the text: a chapter records them, the text takes them from there, and nobody types one.

In a notebook, ``record(auroc=value)`` keeps a number; `helpers.teaching.execute` writes what was recorded beside the
chapter (``NN_name.results.json``, one table a lane). In the text a number is a span that names its source,

    <span data-result="auroc:.3f">0.162</span>

where the reference is ``name``, ``lane/name``, ``chapter/name`` or ``chapter/lane/name``, with a format after the
colon; the lane left out is the chapter's home lane. `fill` writes the numbers into the spans, so that every viewer of
a notebook shows them; `wrong_numbers` says which spans show something else.
"""

import json
import numbers
import re
from pathlib import Path

from helpers.teaching.lanes import LANES

__all__ = ["TABLE", "ResultError", "fill", "read_results", "record", "results_file", "wrong_numbers"]

TABLE = {}
"""What the notebook in this process has recorded so far."""

_SPAN = re.compile(r'(<span data-result="(?P<reference>[^":]+)(?::(?P<format>[^"]*))?">)(?P<shown>[^<]*)(</span>)')


class ResultError(ValueError):
    """A number that cannot be recorded, or a reference in the text to a number that no run has recorded."""


def record(**values):
    """Keep measured values under their names, for the text of the chapter.

    Parameters
    ----------
    **values : int, float or str
        Names carry the unit (``seconds_per_window=0.5``). A name keeps one meaning in a chapter; recording it again
        replaces the value, so that a cell may be run twice.

    Raises
    ------
    ResultError
        If a value is no number and no text.
    """
    kept = {name: _plain(name, value) for name, value in values.items()}
    TABLE.update(kept)


def _plain(name, value):
    if isinstance(value, str):
        return value
    value = value.item() if hasattr(value, "item") else value  # a NumPy scalar, a tensor of one element
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ResultError(f"{name} is {value!r}; expected a number or a text. Record one value under each name.")
    return int(value) if isinstance(value, numbers.Integral) else float(f"{value:.6g}")


def results_file(notebook):
    """Path of a chapter's results table, from the path of its ``.ipynb``."""
    return Path(notebook).with_suffix(".results.json")


def read_results(notebook):
    """The recorded values of a chapter, ``{lane: {name: value}}``; empty where nothing was recorded."""
    file = results_file(notebook)
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def fill(text, page):
    """The text with each span's number brought up to date.

    Parameters
    ----------
    text : str
        Markdown.
    page : Path
        File that the text stands in. In a chapter, a reference may leave the chapter's name out.

    Returns
    -------
    str
        A span whose reference leads nowhere is left as it is; `wrong_numbers` names it.
    """

    def measured(span):
        try:
            return span[1] + _measured(span, Path(page)) + span[5]
        except ResultError:
            return span[0]

    return _SPAN.sub(measured, text)


def wrong_numbers(text, page):
    """Why numbers in the text are not the measured ones: one sentence for each such span."""
    reasons = []
    for span in _SPAN.finditer(text):
        try:
            measured = _measured(span, Path(page))
        except ResultError as fault:
            reasons.append(str(fault))
        else:
            if measured != span["shown"]:
                reasons.append(f"{span['reference']} is {span['shown']!r} in the text, measured {measured!r}")
    if loose := text.count("data-result=") - len(_SPAN.findall(text)):
        reasons.append(f'{loose} of the spans cannot be read; expected <span data-result="name:.3f">number</span>')
    return reasons


def _measured(span, page):
    *where, name = span["reference"].split("/")
    lane = where.pop() if where and where[-1] in LANES else None
    chapter = _chapter(page, where.pop() if where else None, span["reference"])
    lane = lane or _home(chapter)
    table = read_results(chapter).get(lane, {})
    if where or name not in table:
        known = ", ".join(sorted(table)) or "nothing"
        raise ResultError(f"{span['reference']}: {chapter.stem} recorded no {name!r} in lane {lane}; it has {known}")
    try:
        return format(table[name], span["format"] or "")
    except ValueError as fault:
        raise ResultError(f"{span['reference']}: {table[name]!r} has no format {span['format']!r}") from fault


def _chapter(page, named, reference):
    chapter = page.with_suffix(".ipynb") if named is None else page.parent.parent / "notebooks" / f"{named}.ipynb"
    if not chapter.is_file():
        raise ResultError(f"{reference}: there is no chapter {chapter.name}; name one, as in 00_start_here/{reference}")
    return chapter


def _home(chapter):
    return json.loads(chapter.read_text(encoding="utf-8"))["metadata"].get("workbook", {}).get("home")
