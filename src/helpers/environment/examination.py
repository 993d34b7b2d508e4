"""`diagnose`: one compiled extension, examined without loading it, as a text that fits under a notebook's cell.

It puts what `helpers.environment.elf` reads and predicts beside what the catalogue calls such a failure. What to do is
not its subject: that stands in the catalogue too, and `explain` tells it.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.environment.catalogue import failures
from helpers.environment.elf import Extension, Finding, Search, predict, read_extension, refused
from helpers.environment.elf_file import BUS_ERROR, ElfError
from helpers.environment.labs import _hide

__all__ = ["Examination", "diagnose"]

_WIDTH = 80
_ABI = {
    "cxx11": "cxx11 (std::__cxx11::string)",
    "old": "old (std::string before cxx11)",
    "both": "cxx11 and old, mixed",
    "neither": "no std::string in what it asks for",
}


@dataclass(frozen=True, repr=False)
class Examination:
    """What stands for and against the import of a compiled extension; printed, it is a text for a reader.

    Attributes
    ----------
    path : Path
    extension : Extension or None
        None where the file is no 64-bit library; `findings` then says so.
    findings : tuple of Finding
        As `predict` returns them: the first is what an import would say. Empty where nothing stands against it.
    after_torch : tuple of Finding or None
        What would be left after `import torch`; None where that was not asked, or there is no torch.
    """

    path: Path
    extension: Extension | None
    findings: tuple[Finding, ...]
    after_torch: tuple[Finding, ...] | None = None

    def __repr__(self) -> str:
        return "\n".join(_lines(self))


def diagnose(
    path: str | os.PathLike[str],
    *,
    torch_first: bool = False,
    library_path: str | os.PathLike[str] | None = None,
) -> Examination:
    """Examine a compiled extension without loading it: what it asks for, and what its import would say here.

    Parameters
    ----------
    path : str or Path
        The `.so` file.
    torch_first : bool
        Whether `import torch` has come before.
    library_path : str or Path, optional
        `LD_LIBRARY_PATH`; that of this process when left out.

    Returns
    -------
    Examination

    Raises
    ------
    ElfError
        Where there is no such file, or it is damaged in a way that the loader has no word for.
    """
    path = Path(path).absolute()
    changes = {} if library_path is None else {"library_path": os.fspath(library_path)}
    try:
        extension = read_extension(path)
    except ElfError as error:
        if error.id is None:
            raise
        return Examination(path, None, (refused(path, error),))
    search = Search(torch_first=torch_first, **changes)
    findings, after_torch = tuple(predict(extension, search)), None
    if findings and search.torch and not torch_first:
        after_torch = tuple(predict(extension, replace(search, torch_first=True)))
    return Examination(path, extension, findings, after_torch)


def _lines(examined: Examination) -> Iterator[str]:
    extension, name = examined.extension, examined.path.name
    if extension is None:
        yield name
    else:
        yield f"{name}, built for {extension.machine}"
        for label, text in _facts(extension):
            yield from _wrapped(text, f"  {label:<13}", " " * 15)
    yield ""
    if not examined.findings:
        yield "Nothing stands against the import."
        return
    first = examined.findings[0]
    if first.text == BUS_ERROR:
        yield f"`import {name.split('.')[0]}` would end Python: {BUS_ERROR}"
    else:
        kind = "ModuleNotFoundError" if first.id == "I1" else "ImportError"
        yield f"`import {name.split('.')[0]}` would say"
        yield from _wrapped(f"{kind}: {first.text}", "  ", "    ")
    yield from _verdict(first)
    if examined.after_torch == ():
        yield "OK only after `import torch`."
    elif examined.after_torch and examined.after_torch[0].text != first.text:
        yield "After `import torch` it would be"
        yield from _verdict(examined.after_torch[0])


def _facts(extension: Extension) -> Iterator[tuple[str, str]]:
    yield "needs", ", ".join(extension.needed) or "no library"
    kinds = (("RPATH", extension.rpath), ("RUNPATH", extension.runpath))
    places = [f"{kind} {':'.join(folders)}" for kind, folders in kinds if folders]
    yield "search path", ", ".join(places) or "none (no RPATH, no RUNPATH)"
    yield "C++ ABI", _ABI[extension.abi]
    if extension.gpu_archs:
        yield "GPU code", ", ".join(extension.gpu_archs)


def _verdict(finding: Finding) -> Iterator[str]:
    title = next((failure.title for failure in failures() if failure.id == finding.id), None)
    if title:
        yield from _wrapped(f"{finding.id}: {title}", "  ", "      ")
    yield from _wrapped(f"Here: {finding.reason.removesuffix('.')}.", "  ", "    ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(_hide(text), _WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False)
