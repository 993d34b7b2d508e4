"""A checkup as text: the verdict, a line a layer, what works, and the first fault in full. It decides nothing; the
other faults stand in full in the JSON.
"""

from __future__ import annotations

import textwrap
from pathlib import Path

from helpers.environment.doctor_result import Checkup, Fault

__all__ = ["render_checkup"]

WIDTH = 80
LABELS = {
    "python": "Python",
    "torch": "torch",
    "toolkit": "Toolkit",
    "pair": "Pair",
    "wheels": "Wheels",
    "extensions": "Compiled",
    "pins": "Pins",
    "gpu": "GPU",
    "imports": "Imports",
    "library_path": "Libraries",
}
COLORS = {"ok": "32", "note": "33", "broken": "31", "not here": "2", "yes": "32", "no": "2", "not tried": "33"}
ANSWERS = {True: "yes", False: "no", None: "not tried"}


def render_checkup(checkup: Checkup, color: bool = False) -> str:
    """Draw a checkup.

    Parameters
    ----------
    checkup : Checkup
    color : bool
        Whether to color the states with ANSI codes; the words are the same.

    Returns
    -------
    str
        Prose in 80 columns; commands and the line of evidence are not folded, so that they can be copied.
    """
    broken = checkup.broken
    lines = textwrap.wrap(f"Doctor: {_verdict(checkup)}", WIDTH)
    for layer in checkup.layers:
        lines += _row(LABELS[layer.name], layer.state, layer.summary, color, 2 if layer.state == "note" else 1)
    lines += ["", "What works here"]
    for backend in checkup.backends:
        lines += _row(f"  {backend.name}", ANSWERS[backend.works], backend.reason, color, 2)
    lines += ["", *textwrap.wrap(_short(checkup.build_torch), WIDTH, break_long_words=False, break_on_hyphens=False)]
    if broken:
        lines += ["", *_fault(broken[0][1])]
    if len(broken) > 1:
        lines += ["", "Also broken"]
        others = [f"  {LABELS[name]:<10}{fault.id:<4}{fault.title}" for name, fault in broken[1:]]
        lines += [*dict.fromkeys(others)]
    return "\n".join(lines)


def _verdict(checkup: Checkup) -> str:
    if checkup.broken:
        name, fault = checkup.broken[0]
        return f"broken at {LABELS[name]}: {fault.id} {fault.title}"
    notes = [LABELS[layer.name] for layer in checkup.layers if layer.state == "note"]
    return f"nothing is broken{f' (notes: {chr(44).join(notes)})' if notes else ''}".replace(",", ", ")


def _row(label: str, state: str, text: str, color: bool, most: int) -> list[str]:
    room = WIDTH - 22
    wrapped = textwrap.wrap(_short(text), room, max_lines=most, placeholder=" ...") or [""]
    shown = f"\033[{COLORS[state]}m{state:<10}\033[0m" if color else f"{state:<10}"
    return [f"{label:<12}{shown}{wrapped[0]}".rstrip(), *(" " * 22 + line for line in wrapped[1:])]


def _fault(fault: Fault) -> list[str]:
    lines = [f"{fault.id}  {fault.title}", "", *textwrap.wrap(fault.cause, WIDTH, break_long_words=False)]
    lines += ["", "Proof", f"  {_short(fault.evidence)}", "", "Fix"]
    return [*lines, *(f"  {step}" for step in fault.fix)]


def _short(text: str) -> str:
    """Write the home folder as ~ where a path begins with it."""
    home = str(Path.home())
    return text.replace(f" {home}/", " ~/") if home != "/" else text
