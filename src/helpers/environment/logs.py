"""A log as plain lines, without colors, progress bars, or lines so long that a search would crawl."""

from __future__ import annotations

import contextlib
import json
import re

__all__ = ["clean", "excerpt", "place", "unwrapped"]

ANSI = re.compile(
    r"\x1b\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)|\x1b[@-Z\\^_]?|\x9b[0-9;]{0,40}m"
)
BARE_ANSI = re.compile(
    r"(?:\\u001b|\\x1b|\\033|\^\[|\u241b)?\[\d{1,3}(?:;\d{1,3}){0,5}m"
)  # where the escape itself was lost
PREFIX = re.compile(  # of a quoted, boxed, numbered or dated line: GitHub, uv and pip, Docker, CI, torchrun
    r"^(?:[^\S\n]{0,9}(?:>|│|\||#\d{1,4} \d{1,6}\.\d{1,3}(?=\s)|\d{1,6}\.\d{3}(?=\s)"
    r"|\[?\d{4}-\d\d-\d\dT[\d:.]{5,18}Z?\]?"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[.,]?\d{0,6}|\[(?:rank)?\d{1,4}\]:|\(\w{1,40} pid=\d{1,9}\)) ?){1,5}",
    re.MULTILINE,
)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]+")
BLANK = re.compile(r"[^\S\n]{3,}")
EMPTY_LINES = re.compile(r"\n(?:[^\S\n]{0,2}\n){2,}")
# A symbol that the width of a box broke in two.
BROKEN_NAME = re.compile(r"(symbol:\s_\w{0,900})\n[^\S\n]{0,9}(?=\w{0,200}\d\w{0,700}(?:\n|\Z))")
LONG = re.compile(r"[^\n]{3000}\S{0,900}")
QUOTES = str.maketrans({**dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟«»", '"'), "\u00a0": " "})
ENTITIES = {"&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&#x27;": "'", "&amp;": "&"}
NARROWEST, WIDEST = 40, 250  # columns of a terminal that breaks lines
TERMINALS = {72, 80, 100, 120, 132}
PLACES = {
    "colab": re.compile(r"google\.colab|/content/|\bcolab\b"),
    "modal": re.compile(r"\bmodal\.(?:Image|App|exception|com)|/modal/|modal run|modal deploy"),
    "wsl2": re.compile(r"microsoft-standard-WSL|/usr/lib/wsl/|\bWSL2?\b|/mnt/c/"),
    "jetson": re.compile(r"(?<![a-z])tegra|[Jj]etson|\.nv2\d\.\d|L4T"),
}


def clean(log: str | bytes) -> str:
    """Return a log as lines of text that patterns can be searched in, in time proportional to its length.

    Parameters
    ----------
    log : str or bytes
        Anything; bytes that are no UTF-8 are replaced, UTF-16 with a byte order mark (PowerShell) is read.

    Returns
    -------
    str
        Lines end in ``\\n``; a carriage return ends one too, so each state of a progress bar is a line.
    """
    if isinstance(log, (bytes, bytearray)):
        log = bytes(log)
        log = log.decode("utf-16" if log[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8", errors="replace")
    if log.lstrip()[:1] == '"' and log.rstrip()[-1:] == '"':  # one JSON string
        with contextlib.suppress(ValueError):
            log = str(json.loads(log))
    if "\n" not in log.strip() and log.count("\\n") > 2:
        log = log.replace("\\n", "\n")
    if "&" in log:  # copied from a page's source
        for entity, sign in ENTITIES.items():
            log = log.replace(entity, sign)
    text = BARE_ANSI.sub("", ANSI.sub("", log)).replace("\r\n", "\n").replace("\r", "\n").translate(QUOTES)
    text = PREFIX.sub("", CONTROL.sub("", text))
    text = EMPTY_LINES.sub("\n\n", BLANK.sub("  ", text))
    for _ in range(3):
        text = BROKEN_NAME.sub(r"\1", text)
    return LONG.sub(lambda match: match.group() + "\n", text)


def unwrapped(text: str) -> tuple[str, bool]:
    """Join the lines of a cleaned log that a terminal or a mail program broke at its width.

    Parameters
    ----------
    text : str
        A cleaned log.

    Returns
    -------
    str
        A line as long as the longest one goes on in the next, without a gap; one that was ended because the next word
        did not fit goes on after a space. The text as it is where its longest line is no width of a terminal.
    bool
        Whether the log was broken for sure: two lines of that length, or one of a usual terminal's.
    """
    lines = text.split("\n")
    width = max(map(len, lines))
    if not NARROWEST <= width <= WIDEST:
        return text, False
    full = 0
    parts = []
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        word = after.split(maxsplit=1)[0] if after.strip() else ""
        if len(line) == width:
            full += 1
            parts += [line, ""]
        elif word and len(line) + 1 + len(word) > width and len(line) > width // 2:
            parts += [line, " "]
        else:
            parts += [line, "\n"]
    return "".join(parts[:-1]), full > 1 or width in TERMINALS


def excerpt(text: str, start: int, end: int, room: int = 300) -> str:
    """Return the line, or the lines, of a cleaned log that hold a match, in at most `room` characters around it."""
    first = text.rfind("\n", 0, start + 1) + 1 if text[start : start + 1] != "\n" else start + 1
    last = text.find("\n", max(end - 1, first))
    last = len(text) if last < 0 else last
    if last - first > room:
        first = max(first, min(start - 40, last - room))
        last = min(last, first + room)
    return " ".join(text[first:last].split())


def place(text: str) -> str:
    """Where a cleaned log comes from: colab, modal, wsl2, jetson, or local when nothing says so."""
    return next((name for name, sign in PLACES.items() if sign.search(text)), "local")
