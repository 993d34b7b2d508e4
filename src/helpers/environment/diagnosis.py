"""`explain`: a log in, ranked causes out. What it knows stands in the catalogue; where nothing matches, it says so
by naming no cause. It runs nothing and looks at no file of the machine.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from helpers.environment.catalogue import Failure, Signature, failures, needles
from helpers.environment.logs import clean, excerpt, place, unwrapped
from helpers.environment.symbols import contract_direction, demangled, direction

__all__ = ["Cause", "Explanation", "explain"]

TRIES = 20  # matches of one signature that are looked at, from the last backwards
BEFORE, AFTER = 25, 6  # lines that count as near
PASTED = 200_000  # characters that a terminal's lines are joined in
INSTALLED = re.compile(r"Successfully installed [^\n]{0,1000}(?:mamba|causal)[_-](?:ssm|conv1d)")


@dataclass(frozen=True)
class Cause:
    """Why a log failed.

    Attributes
    ----------
    id, title : str
        Of the failure in the catalogue.
    cause : str
        The mechanism, with the demangled symbol and the direction of the mismatch where the log tells them.
    evidence : str
        The line that proves it.
    check : str
        A command that makes sure.
    fix : tuple of str
        Commands and steps, those for the place that the log comes from included.
    lab : str
        Chapter and section that reproduce it, as ``01_install/isolation``; empty where none does.
    symbol : str
        The demangled symbol, empty when none is missing.
    direction : str
        Built for which torch, running under which; empty when neither is known.
    """

    id: str
    title: str
    cause: str
    evidence: str
    check: str
    fix: tuple[str, ...]
    lab: str
    symbol: str = ""
    direction: str = ""


@dataclass(frozen=True)
class Explanation:
    """Causes of a log, best first; none when it is unknown. As a string, what `workbook explain` prints."""

    causes: tuple[Cause, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a cause at all."""
        return bool(self.causes)

    def __str__(self) -> str:
        from helpers.environment.answer import render_explanation  # which imports this module

        return render_explanation(self)

    __repr__ = __str__

    def to_dict(self) -> dict:
        """Return JSON types: ``{"causes": [{"id", "title", "cause", "evidence", "fix", "lab"}, …]}``."""
        names = ("id", "title", "cause", "evidence", "fix", "lab")
        causes = [{name: getattr(cause, name) for name in names} for cause in self.causes]
        return {"causes": [{**cause, "fix": list(cause["fix"])} for cause in causes]}


@dataclass(frozen=True)
class _Hit:
    failure: Failure
    match: re.Match[str]
    weak: bool


def explain(text: str | bytes) -> Explanation:
    """Say why an install, an import or a run failed.

    Parameters
    ----------
    text : str or bytes
        A log of any length, with whatever stands around the error.

    Returns
    -------
    Explanation
        The last error's cause first; a cause that is only the consequence of another, or more general, after that one.

    Notes
    -----
    Time grows with the length of the log only, under 1 s for 1 MB.
    """
    log = clean(text)
    hits = _proofs(log)
    whole, sure = unwrapped(log) if len(log) < PASTED else (log, False)  # a terminal may have broken long lines
    if whole != log and (sure or all(hit.weak for hit in hits)):
        joined = _proofs(whole)
        if not all(hit.weak for hit in joined):
            log, hits = whole, joined
    where = place(log)
    return Explanation(tuple(_cause(hit, log, where) for hit in hits))


def _proofs(log: str) -> list[_Hit]:
    """What the catalogue proves in a cleaned log, best first."""
    known: dict[str, bool] = {}
    hits = [hit for failure in failures() if (hit := _find(failure, log, known))]
    installed = _last(INSTALLED, log, "Successfully installed")
    if installed:  # pip fell back to something that worked: what failed to build before is history
        hits = [hit for hit in hits if hit.failure.id[0] != "B" or hit.match.start() > installed.start()]
    hits.sort(key=lambda hit: (hit.weak, -hit.match.start()))
    return _ordered(hits)


def _find(failure: Failure, log: str, known: dict[str, bool]) -> _Hit | None:
    """The proof that counts for one failure: the last strong one, or else the last weak one."""
    found = None
    for signature in failure.signatures:
        match = _matched(signature, log, known)
        if match:
            hit = _Hit(failure, match, signature.weak)
            if found is None or (not hit.weak, match.start()) > (not found.weak, found.match.start()):
                found = hit
    return found


def _matched(signature: Signature, log: str, known: dict[str, bool]) -> re.Match[str] | None:
    if not _possible(signature.match, log):
        return None
    matches = list(signature.match.finditer(log))[-TRIES:]
    if not matches or (signature.log and not _holds(signature.log, log, known)):
        return None
    if signature.unless and _holds(signature.unless, log, known):
        return None
    if signature.near is None:
        return matches[-1]
    return next((match for match in reversed(matches) if signature.near.search(_around(log, match))), None)


def _possible(pattern: re.Pattern[str], text: str) -> bool:
    literals = needles(pattern.pattern)
    return not literals or any(literal in text for literal in literals)


def _holds(pattern: re.Pattern[str], log: str, known: dict[str, bool]) -> bool:
    """Whether a pattern stands anywhere in the log; several signatures ask for the same one."""
    if pattern.pattern not in known:
        known[pattern.pattern] = _possible(pattern, log) and pattern.search(log) is not None
    return known[pattern.pattern]


def _around(log: str, match: re.Match[str]) -> str:
    start, end = match.span()
    for _ in range(BEFORE + 1):
        start = max(log.rfind("\n", 0, start), 0)
    for _ in range(AFTER + 1):
        end = log.find("\n", end + 1)
        if end < 0:
            return log[start:]
    return log[start:end]


def _last(pattern: re.Pattern[str], log: str, needle: str) -> re.Match[str] | None:
    at = log.rfind(needle)
    while at >= 0:
        match = pattern.match(log, at)
        if match:
            return match
        at = log.rfind(needle, 0, at)
    return None


def _ordered(hits: list[_Hit]) -> list[_Hit]:
    """Move each hit behind those that it yields to, and keep the order otherwise."""
    ordered: list[_Hit] = []
    waiting = list(hits)
    while waiting:
        free = [hit for hit in waiting if not any(_yields(hit, other) for other in waiting if other is not hit)]
        chosen = (free or waiting)[0]
        ordered.append(chosen)
        waiting.remove(chosen)
    return ordered


def _yields(hit: _Hit, other: _Hit) -> bool:
    names = hit.failure.yields_to
    strong_enough = hit.weak or not other.weak
    return strong_enough and (other.failure.id in names or other.failure.id[0] in names)


def _cause(hit: _Hit, log: str, where: str) -> Cause:
    failure, groups = hit.failure, hit.match.groupdict()
    symbol = groups.get("symbol") or ""
    named = groups.get("library") or groups.get("name") or ""
    if symbol:
        turn = direction(symbol, log)
    elif failure.id == "I3":
        turn = contract_direction(named, log[hit.match.end() : hit.match.end() + 4000])
    else:
        turn = ""
    readable = demangled(symbol) if symbol else ""
    said = [failure.cause, f"Missing: {readable}." if readable else f"Here: {named}." if named else ""]
    said.append(f"Direction: {turn}." if turn else "")
    return Cause(
        id=failure.id,
        title=failure.title,
        cause=" ".join(part for part in said if part),
        evidence=excerpt(log, *hit.match.span()),
        check=failure.check,
        fix=(*failure.fix, *failure.fix_at.get(where, ())),
        lab=f"{failure.chapter}/{failure.lab}" if failure.lab else "",
        symbol=readable,
        direction=turn,
    )
