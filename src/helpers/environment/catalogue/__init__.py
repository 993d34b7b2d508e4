"""The failures that `explain` knows and the symbols that date a torch, read from the TOML files of this folder.

It reads tables and compiles their patterns; it judges no log. To add a failure, edit `failures.toml`: no code changes.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

__all__ = ["Failure", "Origin", "Signature", "contract", "failures", "origins"]


@dataclass(frozen=True)
class Signature:
    """What proves a failure in a log.

    Attributes
    ----------
    match : re.Pattern
        Has to stand in the log; where, is the evidence.
    needle : str
        Literal text that every match contains, empty when there is none: a log without it need not be searched.
    near : re.Pattern or None
        Has to stand within a few lines of the match.
    log : re.Pattern or None
        Has to stand somewhere in the log.
    unless : re.Pattern or None
        Must not stand anywhere in the log.
    weak : bool
        Whether this counts only after everything that is proved otherwise.
    """

    match: re.Pattern[str]
    needle: str = ""
    near: re.Pattern[str] | None = None
    log: re.Pattern[str] | None = None
    unless: re.Pattern[str] | None = None
    weak: bool = False


@dataclass(frozen=True)
class Failure:
    """One way in which an install, an import or a run fails.

    Attributes
    ----------
    id : str
        Group letter and number: U undefined symbol, L loader, B build, I import, R run time, P platform.
    title, cause : str
    check : str
        A command that shows whether it is this.
    fix : tuple of str
        Commands and steps, in order.
    fix_at : dict of str to tuple of str
        Further steps where a place needs them: local, colab, wsl2, modal, jetson.
    chapter, lab : str
        Where the workbook reproduces it.
    signatures : tuple of Signature
    examples : tuple of str
        Excerpts of logs; every signature matches one.
    yields_to : tuple of str
        Ids or group letters that stand before it when a log proves both.
    cites : tuple of str
        Public threads, as ``owner/repository#number``.
    """

    id: str
    title: str
    cause: str
    check: str
    fix: tuple[str, ...]
    chapter: str
    lab: str
    signatures: tuple[Signature, ...]
    examples: tuple[str, ...]
    fix_at: dict[str, tuple[str, ...]] = field(default_factory=dict)
    yields_to: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Of which torch a missing symbol tells: `built` is what the extension was made for, `running` what is here."""

    match: re.Pattern[str]
    built: str
    running: str
    cites: tuple[str, ...] = ()


@lru_cache(maxsize=1)
def failures() -> tuple[Failure, ...]:
    """Every failure of `failures.toml`, in its order."""
    return tuple(_failure(entry) for entry in _table("failures.toml")["failure"])


@lru_cache(maxsize=1)
def origins() -> tuple[Origin, ...]:
    """Every symbol of `symbols.toml`; the first whose pattern is found in a symbol counts."""
    return tuple(
        Origin(re.compile(entry["match"]), entry["built"], entry["running"], tuple(entry.get("cites", ())))
        for entry in _table("symbols.toml")["symbol"]
    )


def contract(function: str, arguments: int) -> tuple[str, str] | None:
    """Versions of causal-conv1d whose function takes so many arguments, and of mamba-ssm that passes as many."""
    found = _table("symbols.toml")["contract"].get(function, {}).get(str(arguments))
    return (found[0], found[1]) if found else None


@lru_cache(maxsize=2)
def _table(name: str) -> dict:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # here, so that the pre-flight starts where a base dependency is missing
    return tomllib.loads(files(__name__).joinpath(name).read_text(encoding="utf-8"))


def _failure(entry: dict) -> Failure:
    lists = {name: tuple(entry.get(name, ())) for name in ("fix", "examples", "yields_to", "cites")}
    texts = {name: entry[name] for name in ("id", "title", "cause", "check", "chapter", "lab")}
    places = {place: tuple(steps) for place, steps in entry.get("fix_at", {}).items()}
    return Failure(**texts, **lists, fix_at=places, signatures=tuple(map(_signature, entry["signatures"])))


def _signature(entry: dict) -> Signature:
    patterns = {name: _compile(entry[name]) for name in ("near", "log", "unless") if name in entry}
    return Signature(_compile(entry["match"]), _needle(entry["match"]), weak=entry.get("weak", False), **patterns)


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s{1,9}"))


def _needle(pattern: str) -> str:
    """Longest literal text that every match of a pattern contains; groups and classes are skipped, not read."""
    runs, run, depth, at = [], "", 0, 0
    while at < len(pattern):
        char = pattern[at]
        width = 2 if char == "\\" else 1
        literal = pattern[at + 1] if char == "\\" else char
        if char == "[":
            end = pattern.find("]", at + 2)
            while pattern[end - 1] == "\\" and pattern[end - 2] != "\\":
                end = pattern.find("]", end + 1)
            width = end + 1 - at
        elif char == "{":
            width = pattern.index("}", at) + 1 - at
        is_literal = literal.isalnum() is False if char == "\\" else char not in " .^$|()[]{}*+?"
        if depth == 0 and char == "|":
            return ""
        if char in "?*{":
            run = run[:-1]
        if depth == 0 and is_literal:
            run += literal
        else:
            runs.append(run)
            run = ""
        depth += {"(": 1, ")": -1}.get(char, 0)
        at += width
    return max([*runs, run], key=len)
