"""What mamba_ssm passes to the C++ functions of causal_conv1d and what these take, read from the installed files.

Version numbers are not asked: a file that was patched, a fork, or two halves of two releases would belie them. Python
sources are parsed, of the compiled module the exported symbol is read, whose name spells the argument types. Nothing is
imported.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

from helpers.environment.elf import ElfError, read_extension
from helpers.environment.jetson.edits import FILES, recognized

__all__ = ["Contract", "read_contract"]

Counts = tuple[int | None, int | None]
FUNCTIONS = ("causal_conv1d_fwd", "causal_conv1d_bwd")


@dataclass(frozen=True)
class Contract:
    """The two sides of the calls, as (arguments of `causal_conv1d_fwd`, of `causal_conv1d_bwd`); None where not known.

    Attributes
    ----------
    sources : str
        Of mamba_ssm: `original`, `patched` or `by hand`, as `edits.state` has them; `half patched` where the two files
        differ; `newer` where it goes through `causal_conv1d.cpp_functions`; `unknown`; `missing`.
    passed : tuple of int, optional
        By mamba_ssm, where it calls the C++ functions itself. What was patched by hand may call one of the two only.
    taken : tuple of int, optional
        What causal_conv1d's own Python files pass, which is what its release takes.
    compiled : tuple of int, optional
        What the compiled module takes, from its symbols; None where there is none, or it was stripped of them.
    functions : bool
        Whether causal_conv1d has the file `cpp_functions.py`.
    conv : bool
        Whether causal_conv1d is there.
    states : tuple of str
        Of the two files of mamba_ssm, in the order of `edits.FILES`; empty where `sources` is `newer` or `missing`.
    reason : str
        Which file is by hand, unknown or missing, and why; empty where none is.
    """

    sources: str
    passed: Counts | None
    taken: Counts | None
    compiled: Counts | None
    functions: bool
    conv: bool
    states: tuple[str, ...] = ()
    reason: str = ""

    @property
    def verdict(self) -> str:
        """What it comes to.

        `fits`; `patched` (works, through the patch); `half patched`; `by hand` (training fails, see `states`);
        `too few` (passes fewer arguments than are taken); `too old` (there is no cpp_functions to go through);
        `two halves` (causal_conv1d's files are of two releases); `no mamba-ssm`; `no causal-conv1d`; `unknown`.
        """
        if self.sources == "missing":
            return "no mamba-ssm"
        if not self.conv:
            return "no causal-conv1d"
        if self.compiled and self.taken and self.compiled != self.taken:
            return "two halves"
        if self.sources == "newer":
            return "fits" if self.functions else "too old"
        if self.sources in ("patched", "half patched"):
            return self.sources
        if self.sources == "by hand":
            return "fits" if _agree(self.passed, self.taken) else "by hand"
        if None in (self.passed, self.taken) or None in self.passed:
            return "unknown"
        if self.passed == self.taken:
            return "fits"
        return "too few" if self.passed < self.taken else "too old"


def read_contract(mamba: Path | None, conv: Path | None, compiled: Path | None = None) -> Contract:
    """Read both sides.

    Parameters
    ----------
    mamba, conv : Path or None
        Folders of the packages `mamba_ssm` and `causal_conv1d`; None where one is not there.
    compiled : Path, optional
        The compiled module `causal_conv1d_cuda`.
    """
    taken, functions = None, False
    if conv is not None:
        functions = (conv / "cpp_functions.py").is_file()
        taken = _calls([_text(conv / name) for name in ("cpp_functions.py", "causal_conv1d_interface.py")])
    sources, passed, states, reason = ("missing", None, (), "") if mamba is None else _mamba(mamba)
    symbols = _symbols(compiled) if compiled else None
    return Contract(sources, passed, taken, symbols, functions, conv is not None, states, reason)


def _mamba(folder: Path) -> tuple[str, Counts | None, tuple[str, ...], str]:
    texts, kinds, unreadable = {}, {}, False
    for name in FILES:
        try:
            texts[name] = (folder / name).read_bytes()
            kinds[name] = recognized(texts[name], name)
        except OSError as error:
            gone = isinstance(error, FileNotFoundError)
            kinds[name] = "unknown", f"{name} {'is missing' if gone else f'cannot be read ({error.strerror})'}"
            # Before 2.0 there was no Mamba2, and no second file.
            unreadable |= not gone or (folder / "modules/mamba2.py").is_file()
    states = tuple(kind for kind, _ in kinds.values())
    if any(b"causal_conv1d.cpp_functions" in text for text in texts.values()) and "patched" not in states:
        return "newer", None, (), ""
    if set(states) == {"original", "patched"}:
        return "half patched", None, states, ""
    kind = next((name for name in ("unknown", "by hand") if name in states), states[0])
    reason = "; ".join(found for state, found in kinds.values() if state == kind and found)
    return kind, None if unreadable else _calls(list(texts.values()), one=kind == "by hand"), states, reason


def _agree(passed: Counts | None, taken: Counts | None) -> bool:
    if passed is None or taken is None:
        return False
    return all(count in (None, wanted) for count, wanted in zip(passed, taken, strict=True))


def _text(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _calls(sources: list[bytes], one: bool = False) -> Counts | None:
    """How many arguments these sources pass; None where a call is missing (both, with `one`), or they differ."""
    found: dict[str, set[int]] = {name: set() for name in FUNCTIONS}
    for source in sources:
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return None
        for node in ast.walk(tree):
            call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in found
            if call and not any(isinstance(item, ast.Starred) for item in node.args):
                found[node.func.attr].add(len(node.args) + len(node.keywords))
    sizes = [len(counts) for counts in found.values()]
    if max(sizes) != 1 or (min(sizes) != 1 and not one):
        return None
    return tuple(next(iter(counts), None) for counts in found.values())


def _symbols(path: Path) -> Counts | None:
    import cxxfilt  # here: only a compiled module needs it

    try:
        names = read_extension(path).defined()
    except ElfError:
        return None
    counts = []
    for function in FUNCTIONS:
        name = next((name for name in names if name.startswith(f"_Z{len(function)}{function}")), None)
        if name is None:
            return None
        counts.append(_arguments(cxxfilt.demangle(name)))
    return tuple(counts)


def _arguments(signature: str) -> int:
    """Count the types between the outer parentheses of `name(type, other<a, b>)`."""
    inside, depth, count = signature.partition("(")[2].rpartition(")")[0], 0, 0
    for letter in inside:
        depth += (letter in "<(") - (letter in ">)")
        count += letter == "," and not depth
    return count + 1 if inside else 0
