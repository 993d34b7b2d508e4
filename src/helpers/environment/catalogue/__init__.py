"""The tables of this folder: any of them as it stands, and of the failures that `explain` knows and the symbols that
date a torch what they mean.

It reads TOML files and compiles their patterns; it judges no log. To add a failure, edit `failures.toml`: no code
changes.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

__all__ = ["Failure", "Origin", "Signature", "contract", "failures", "needles", "origins", "table"]

GROUP = re.compile(r"\((?:\?(?::|P<\w+>|=|!|<=|<!))?")  # what opens a group


@dataclass(frozen=True)
class Signature:
    """What proves a failure in a log.

    Attributes
    ----------
    match : re.Pattern
        Has to stand in the log; where, is the evidence.
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
        Where the workbook reproduces it; `lab` is empty where it does not.
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


@cache
def table(name: str) -> dict:
    """A TOML file of this folder as it stands, such as `releases.toml`."""
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # here, so that the pre-flight starts where a base dependency is missing
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))


@lru_cache(maxsize=1)
def failures() -> tuple[Failure, ...]:
    """Every failure of `failures.toml`, in its order."""
    return tuple(_failure(entry) for entry in table("failures.toml")["failure"])


@lru_cache(maxsize=1)
def origins() -> tuple[Origin, ...]:
    """Every symbol of `symbols.toml`; the first whose pattern is found in a symbol counts."""
    return tuple(
        Origin(re.compile(entry["match"]), entry["built"], entry["running"], tuple(entry.get("cites", ())))
        for entry in table("symbols.toml")["symbol"]
    )


def contract(function: str, arguments: int) -> tuple[str, str] | None:
    """Versions of causal-conv1d whose function takes so many arguments, and of mamba-ssm that passes as many."""
    found = table("symbols.toml")["contract"].get(function, {}).get(str(arguments))
    return (found[0], found[1]) if found else None


@cache
def needles(pattern: str) -> tuple[str, ...]:
    """Literal texts of which every match of a pattern contains one: a text without them need not be searched.

    Parameters
    ----------
    pattern : str
        A regular expression as the table holds them: groups, classes, repeats and lookarounds, no flags.

    Returns
    -------
    tuple of str
        Empty when there is none.
    """
    return _alternatives(pattern, 0)[0]


def _failure(entry: dict) -> Failure:
    lists = {name: tuple(entry.get(name, ())) for name in ("examples", "yields_to", "cites")}
    texts = {name: entry[name] for name in ("id", "title", "cause", "check", "chapter")}
    return Failure(
        **texts,
        **lists,
        lab=entry.get("lab", ""),
        fix=_steps(entry["fix"]),
        fix_at={place: tuple(steps) for place, steps in entry.get("fix_at", {}).items()},
        signatures=tuple(map(_signature, entry["signatures"])),
    )


def _steps(steps: list[str]) -> tuple[str, ...]:
    """A list of steps with each `@name` replaced by the steps of that name."""
    shared = table("failures.toml")["steps"]
    return tuple(line for step in steps for line in (shared[step[1:]] if step.startswith("@") else [step]))


def _signature(entry: dict) -> Signature:
    patterns = {name: _compile(_whole(entry[name])) for name in ("match", "near", "log", "unless") if name in entry}
    return Signature(**patterns, weak=entry.get("weak", False))


def _whole(pattern: str) -> str:
    """A pattern with each `<<name>>` replaced by the shared pattern of that name."""
    shared = table("failures.toml")["patterns"]
    return re.sub(r"<<(\w+)>>", lambda match: shared[match.group(1)], pattern)


def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern.replace(" ", r"\s{1,9}"))


def _alternatives(pattern: str, at: int) -> tuple[tuple[str, ...], int]:
    """Needles of a group that starts at an index, and the index behind it."""
    found, best, run = [], (), ""

    def better(candidate: tuple[str, ...]) -> tuple[str, ...]:
        return max(best, candidate, key=lambda needles: min(map(len, needles), default=0))

    while at < len(pattern) and pattern[at] != ")":
        char = pattern[at]
        width = 2 if char == "\\" else 1
        inner: tuple[str, ...] = ()
        if char == "[":
            end = pattern.find("]", at + 2)
            while pattern[end - 1] == "\\" and pattern[end - 2] != "\\":
                end = pattern.find("]", end + 1)
            width = end + 1 - at
        elif char == "{":
            width = pattern.index("}", at) + 1 - at
        elif char == "(":
            opening = GROUP.match(pattern, at)
            inner, end = _alternatives(pattern, opening.end())
            width = end + 1 - at
            if "!" in opening.group() or "=" in opening.group():  # a lookaround is no part of the match
                inner = ()
        literal = pattern[at + 1 : at + 2] if char == "\\" else char
        if char in "?*{":
            run = run[:-1]
        at += width
        if (char == "\\" and not literal.isalnum()) or char not in "\\ .^$|()[]{}*+?":
            run += literal
            continue
        best, run = better((run,)), ""
        if inner and pattern[at : at + 1] not in ("?", "*") and pattern[at : at + 2] != "{0":
            best = better(inner)
        if char == "|":
            found.append(best)
            best = ()
    found.append(better((run,)))
    whole = all(needles and all(needles) for needles in found)
    return (tuple(dict.fromkeys(needle for needles in found for needle in needles)) if whole else ()), at
