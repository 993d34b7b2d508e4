"""An explanation as text for a terminal: the first cause in full, of the others one line each. It decides nothing; the
rest stands in the JSON.
"""

from __future__ import annotations

import textwrap

from helpers.environment.diagnosis import Explanation

WIDTH = 80
UNKNOWN = (
    "No known cause: nothing in this log matches a failure of installing, importing",
    "or running mamba-ssm and causal-conv1d.",
    "",
    "Next",
    "  Give the whole log, made with: pip install -v ... 2>&1 | tee install.log",
    '  Behind a swallowed error: python -c "import torch, causal_conv1d, mamba_ssm"',
    "  What this machine is: python -m helpers.environment preflight",
)


def render_explanation(explanation: Explanation) -> str:
    """Draw an explanation.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    str
        Prose in 80 columns; commands and the line of evidence are not folded, so that they can be copied.
    """
    if not explanation.causes:
        return "\n".join(UNKNOWN)
    first, *others = explanation.causes
    lines = [f"{first.id}  {first.title}", "", *textwrap.wrap(first.cause, WIDTH, break_long_words=False)]
    lines += ["", "Proof", f"  {first.evidence}", "", "To be sure", f"  {first.check}", "", "Fix"]
    lines += [f"  {step}" for step in first.fix]
    if first.lab:
        chapter, section = first.lab.split("/")
        lines += ["", f'Lab: {chapter}, section "{section}"']
    if others:
        lines += ["", "Also in this log"]
        lines += [f"  {cause.id:<4}{cause.title}" for cause in others]
    return "\n".join(lines)
