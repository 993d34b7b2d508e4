"""What a missing symbol or a refused call says about versions: demangled names, and the direction of a mismatch."""

from __future__ import annotations

import re

from helpers.environment.catalogue import contract, origins

__all__ = ["contract_direction", "demangled", "direction", "torch_here"]

HERE = (
    re.compile(r"torch\.__version__\s{0,9}[=:]{1,2}\s{0,9}['\"]?(\d+\.\d[\w.+]{0,40})"),
    re.compile(r"Requirement already satisfied: torch(?![\w-])[^\n]{0,400}\((\d+\.\d[\w.+]{0,40})\)"),
    re.compile(r"Successfully installed [^\n]{0,1200}(?<![\w-])torch-(\d+\.\d[\w.+]{0,40}?)(?=\s|$)"),
    re.compile(r"(?:^|\n)\s{0,9}torch\s{1,40}(\d+\.\d[\w.+]{0,40})"),
)
WHEEL = re.compile(r"\+cu\d+torch(\d+\.\d+)cxx11abi(TRUE|FALSE)")
ARGUMENTS = re.compile(r"\n\s{0,9}1\.\s{1,9}\(([^\n]{0,3000})")


def demangled(symbol: str) -> str:
    """Return a mangled C++ name readable, or as it is when it cannot be read."""
    if len(symbol) > 2000:
        return symbol
    try:
        import cxxfilt  # here, because it looks for libstdc++ and libc when it is imported

        return cxxfilt.demangle(symbol)
    except Exception:  # invalid names, and machines where it cannot be imported
        return symbol


def torch_here(text: str) -> str | None:
    """The torch version that a log itself shows as installed, the last one that it tells."""
    found = [match for pattern in HERE for match in pattern.finditer(text)]
    return max(found, key=lambda match: match.start()).group(1).rstrip(".") if found else None


def direction(symbol: str, text: str) -> str:
    """Say for which torch an extension was built and under which it runs, as far as symbol and log tell.

    Parameters
    ----------
    symbol : str
        The mangled name that is undefined.
    text : str
        The whole cleaned log: a wheel name in it tells the first, a printed torch version the second.

    Returns
    -------
    str
        One sentence, empty when nothing is known.
    """
    origin = next((item for item in origins() if item.match.search(symbol)), None)
    wheels, here = WHEEL.findall(text), torch_here(text)
    built = origin.built if origin else f"torch {wheels[-1][0]}, cxx11abi{wheels[-1][1]}" if wheels else ""
    running = f"torch {here} by the log" if here else origin.running if origin else ""
    return "; ".join(
        part for part in (f"built for {built}" if built else "", f"running under {running}" if running else "") if part
    )


def contract_direction(function: str, after: str) -> str:
    """Say which causal-conv1d is installed, from the arguments that a refused call lists as supported."""
    supported = ARGUMENTS.search(after)
    if supported is None:
        return ""
    signature = supported.group(1).split(") ->")[0]
    found = contract(function, len(re.findall(r"\w+: ", signature)))
    return f"the compiled causal-conv1d is {found[0]}, which fits mamba-ssm {found[1]}" if found else ""
