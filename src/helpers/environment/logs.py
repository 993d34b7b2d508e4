"""A log as plain lines, without colors, progress bars, or lines so long that a search would crawl."""

from __future__ import annotations

import re

__all__ = ["clean", "excerpt", "place"]

ANSI = re.compile(
    r"\x1b\[[0-9;:?]{0,40}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b\n]{0,500}(?:\x07|\x1b\\)|\x1b[@-Z\\^_]?|\x9b[0-9;]{0,40}m"
)
CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f]+")
BLANK = re.compile(r"[^\S\n]{3,}")
EMPTY_LINES = re.compile(r"\n(?:[^\S\n]{0,2}\n){2,}")
LONG = re.compile(r"[^\n]{3000}\S{0,900}")
QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})
PLACES = {
    "colab": re.compile(r"google\.colab|/content/|\bcolab\b"),
    "modal": re.compile(r"\bmodal\.(?:Image|App|exception|com)|/modal/|modal run|modal deploy"),
    "wsl2": re.compile(r"microsoft-standard-WSL|/usr/lib/wsl/|\bWSL2?\b|/mnt/c/"),
    "jetson": re.compile(r"tegra|[Jj]etson|\.nv2\d\.\d|L4T"),
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
    if "\n" not in log.strip() and log.count("\\n") > 2:  # one JSON string
        log = log.replace("\\n", "\n")
    text = ANSI.sub("", log).replace("\r\n", "\n").replace("\r", "\n").translate(QUOTES)
    text = CONTROL.sub("", text)
    text = EMPTY_LINES.sub("\n\n", BLANK.sub("  ", text))
    return LONG.sub(lambda match: match.group() + "\n", text)


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
