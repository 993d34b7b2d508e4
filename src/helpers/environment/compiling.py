"""Command lines that compile a small extension as a torch extension is compiled, and where its torch lies.

For the labs only: a real package goes through `torch.utils.cpp_extension`, which imports torch and adds flags of its
own. Here nothing is imported and nothing runs; the command is handed back to be read.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sysconfig
from collections.abc import Sequence
from pathlib import Path

__all__ = ["COMPILERS", "compile_command", "torch_folder"]

COMPILERS = {".c": "gcc", ".cpp": "g++", ".cu": "nvcc"}
_TORCH = re.compile(r"c10|torch|shm")


def torch_folder() -> Path:
    """Return the folder of the installed `torch` package; it is not imported.

    Raises
    ------
    FileNotFoundError
        Where torch is not installed.
    """
    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("torch is not installed here, expected any version. Install it: pip install torch")
    return Path(next(iter(found.submodule_search_locations)))


def compile_command(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    links: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> list[str]:
    """Return the command that makes a shared library of one source file.

    Parameters
    ----------
    source : str or Path
        `.c`, `.cpp` or `.cu`, for gcc, g++ and nvcc.
    output : str or Path
    links : sequence of str
        Libraries, as after `-l`. With one of torch's (`c10`, `torch_cpu`, …) the command names torch's folders, its
        language standard and its string ABI.
    flags : sequence of str
        Further options, before the libraries.

    Returns
    -------
    list of str

    Raises
    ------
    ValueError
        For another suffix.
    FileNotFoundError
        Where a library of torch is asked for and torch is not installed.
    """
    kind = Path(source).suffix
    if kind not in COMPILERS:
        raise ValueError(f"{os.fspath(source)!r} ends in {kind!r}, expected {', '.join(COMPILERS)}. Rename the file.")
    compiler = shutil.which(COMPILERS[kind]) or COMPILERS[kind]
    command = [compiler, "-shared", *(["-Xcompiler", "-fPIC"] if kind == ".cu" else ["-fPIC"])]
    command += [f"-I{sysconfig.get_path('include')}", os.fspath(source), f"-L{Path(output).parent}"]
    if any(_TORCH.match(name) for name in links):
        command += _torch_flags()
    return [*command, *flags, *(f"-l{name}" for name in links), "-o", os.fspath(output)]


def _torch_flags() -> list[str]:
    torch = torch_folder()
    text = (torch / "version.py").read_text(encoding="utf-8")
    numbers = re.search(r"__version__ = '(\d+)\.(\d+)", text)
    newer = numbers is None or (int(numbers[1]), int(numbers[2])) >= (2, 13)  # its headers warn below C++20
    flags = [f"-std=c++{20 if newer else 17}", f"-I{torch / 'include'}", f"-L{torch / 'lib'}"]
    return [*flags, f"-D_GLIBCXX_USE_CXX11_ABI={int(_has_new_strings(torch))}"]


def _has_new_strings(torch: Path) -> bool:
    from helpers.environment.elf import ElfError, read_extension  # here: it loads a library that few commands need

    try:
        names = read_extension(torch / "lib" / "libc10.so").defined()
    except ElfError:
        return True
    return any(name.startswith("_ZN3c10") and "__cxx11" in name for name in names)
