"""What a mangled C++ name tells without a demangler: its qualified name, its `std::string`, and torch's library for it.

It reads the few tokens of the Itanium scheme that this takes, since cxxfilt needs libraries that a broken machine may
lack. Arguments and templates it leaves alone: `helpers.environment.symbols` demangles in full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["owner", "qualified", "string_abi"]

OWNERS = {  # the longer prefix counts
    ("c10", "cuda"): "libc10_cuda.so",
    ("c10",): "libc10.so",
    ("at", "cuda"): "libtorch_cuda.so",
    ("torch", "cuda"): "libtorch_cuda.so",
    ("torch", "utils"): "libtorch_python.so",
    ("at",): "libtorch_cpu.so",
    ("c10d",): "libtorch_cpu.so",
    ("caffe2",): "libtorch_cpu.so",
    ("torch",): "libtorch_cpu.so",
}
# The tokens of a mangled name whose digits do not begin an identifier, then identifiers, then anything.
TOKEN = re.compile(r"S[0-9A-Z]*_|T[0-9]*_|L[a-z]n?\d+E|A\d+_|S[a-z]|(\d+)|.", re.DOTALL)


def qualified(name: str) -> list[str]:
    """Return the qualified name: `["c10", "detail", "torchCheckFail"]`; the name itself where it is not mangled."""
    if not name.startswith("_Z"):
        return [name]
    words: list[str] = []
    for token, is_identifier in _tokens(name):
        if is_identifier:
            words.append(token)
        elif words or token not in "NKVTIS":  # nested, const, volatile; typeinfo and vtables begin with T
            break
    return words


def owner(name: str) -> str | None:
    """Return the library of torch that should have the name; None where it is none of torch's."""
    words = qualified(name)
    if words and words[0].startswith("THP"):
        return "libtorch_python.so"
    return OWNERS.get(tuple(words[:2])) or OWNERS.get(tuple(words[:1]))


def string_abi(name: str) -> str | None:
    """Return which `std::string` a mangled name speaks of: `cxx11`, `old` or None."""
    old = False
    for token, is_identifier in _tokens(name):
        if is_identifier and token in ("__cxx11", "cxx11"):
            return "cxx11"
        old = old or (token == "Ss" and not is_identifier)
    return "old" if old else None


def _tokens(name: str) -> Iterator[tuple[str, bool]]:
    at = 2 if name.startswith("_Z") else len(name)
    while at < len(name):
        found = TOKEN.match(name, at)
        at = found.end()
        if found[1] and len(found[1]) < 6:
            yield name[at : at + int(found[1])], True
            at += int(found[1])
        else:
            yield found[0], False
