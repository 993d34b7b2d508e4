"""A plan as text for a terminal: the answer and its commands, what pip would find, and why. It decides nothing; all the
pairs stand in the JSON.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from helpers.environment.plan import Pair, Plan

__all__ = ["render_plan"]

WIDTH = 80
COLUMNS = (13, 15, 15, 15)
WAYS = {"wheels": "wheels", "build": "build", "": "no way"}
STATES = {
    "404": "pip compiles; PyPI's 2.2.2, 2.2.4, 1.4.0 and 1.5.0.post8 lack the sources.",
    "nightly": "built against a nightly torch; symbols may miss in its release.",
    "wrong machine": "pip takes the x86_64 wheel; it installs and cannot be imported.",
    "wrong CUDA": "pip takes a wheel for another CUDA major; it cannot be loaded.",
    "other tag": "the wheels of 1.6.1 are at v1.6.1.post4, pip asks at v1.6.1.",
    "unknown": "which wheels 1.7.0 has is not known here.",
}


def render_plan(made: Plan) -> str:
    """Draw a plan.

    Parameters
    ----------
    made : Plan

    Returns
    -------
    str
        Prose in 80 columns; commands are broken with backslashes where they can be, addresses never.
    """
    lines = [*_wrapped(made.answer), *_wrapped(f"For {made.target.describe()}")]
    lines += _commands(made.commands)
    if made.otherwise:
        lines += ["", *_wrapped(f"Or: {made.otherwise[0].lower()}{made.otherwise[1:]}")]
        lines += _commands(made.other_commands)
    if made.kind not in ("nothing", "wsl2"):
        lines += ["", "What pip install --no-build-isolation would find, and the way to each pair", *_table(made)]
    if made.notes:
        lines += ["", "Why"]
    for note in made.notes:
        lines += _wrapped(note, "  ", "    ")
    return "\n".join(lines)


def _wrapped(text: str, first: str = "", later: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False)


def _commands(commands: tuple[str, ...]) -> list[str]:
    lines = [""] if commands else []
    for command in commands:
        words = re.findall(r'"[^"]*"|\S+', command)
        line = " "
        for word in words:
            if len(line) + 1 + len(word) > WIDTH - 2 and line.strip():
                lines.append(f"{line} \\")
                line = "   "
            line += f" {word}"
        lines.append(line)
    return lines


def _table(made: Plan) -> list[str]:
    lines = [_line(("mamba-ssm", "its wheel", "causal-conv1d", "its wheel", "way"))]
    rows = _rows(made)
    for row in rows:
        mark = "  <-" if made.kind in ("wheels", "build") and row == made.chosen else ""
        way = WAYS[row.way] if row.contract else "broken"
        states = (row.mamba, row.mamba_wheel.pip, row.causal_conv1d, row.causal_conv1d_wheel.pip, way + mark)
        lines.append(_line(states))
    shown = {wheel.pip for row in rows for wheel in (row.mamba_wheel, row.causal_conv1d_wheel)}
    for state, meaning in STATES.items():
        if state in shown:
            lines += _wrapped(f"{state}: {meaning}", "  ", "    ")
    return lines


def _line(cells: tuple[str, ...]) -> str:
    return ("  " + "".join(f"{cell:<{width}}" for cell, width in zip(cells, (*COLUMNS, 0), strict=True))).rstrip()


def _rows(made: Plan) -> list[Pair]:
    """Of each mamba-ssm, the pair that is shown: the chosen one, else wheels before a build before nothing."""
    best: dict[str, Pair] = {}
    for row in made.pairs:  # newest first
        if row.mamba not in best or _rank(made, row) > _rank(made, best[row.mamba]):
            best[row.mamba] = row
    return list(best.values())


def _rank(made: Plan, row: Pair) -> tuple:
    return row == made.chosen, row.contract, row.way == "wheels", row.way == "build"
