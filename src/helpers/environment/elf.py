"""What the dynamic loader would say of a compiled extension, read from files alone: nothing is loaded and nothing runs.

`read_extension` tells what a shared library asks for and `predict` what would happen if a given Python imported it.
The rules are those of glibc on 64-bit Linux, the messages as version 2.36 prints them. It installs and repairs nothing,
and a symbol that resolves may still do something else than it did. `helpers.environment.examination` shows the same to
a reader.
"""

from __future__ import annotations

import functools
import importlib.machinery
import os
import platform
import re
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from helpers.environment.elf_file import BUS_ERROR, ElfError, ElfFile
from helpers.environment.elf_names import owner, qualified, string_abi

__all__ = ["ElfError", "Extension", "Finding", "Search", "loader_path", "predict", "read_extension"]

_CUDA = re.compile(r"lib(cudart|cublas|cublasLt|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink)\.so\b")
_TORCH = re.compile(r"lib(c10|torch|shm|caffe2)\w*\.so$")


@dataclass(frozen=True)
class Extension:
    """What a compiled extension, or another shared library, asks for.

    Attributes
    ----------
    path : str
        As it was given; the loader's messages repeat it.
    machine : str
        `x86_64`, `aarch64`, … as `platform.machine()` says them, or `machine 77`.
    needed : tuple of str
        Libraries (DT_NEEDED), in order.
    rpath, runpath : tuple of str
        Folders of DT_RPATH and DT_RUNPATH, with `$ORIGIN` as it stands there.
    soname : str or None
    undefined : tuple of str
        Mangled names that must come from elsewhere, in the order in which the loader looks them up. Weak ones may be
        missing and are left out.
    versions : tuple of (str, str)
        Library and version, such as `("libc.so.6", "GLIBC_2.32")`.
    abi : str
        The `std::string` that the undefined names speak of: `cxx11`, `old`, `both` or `neither`.
    tag : str or None
        Of the file name, such as `cpython-311-x86_64-linux-gnu` or `abi3`.
    gpu_archs : tuple of str
        What its CUDA code is compiled for, such as `("sm_75", "sm_90a", "compute_90")`: machine code for a GPU, then
        PTX, which the driver compiles for newer ones. A part that nvcc added when it linked counts too.
    """

    path: str
    machine: str
    needed: tuple[str, ...]
    rpath: tuple[str, ...]
    runpath: tuple[str, ...]
    soname: str | None
    undefined: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]
    abi: str
    tag: str | None
    gpu_archs: tuple[str, ...] = ()

    def defined(self) -> frozenset[str]:
        """Return the mangled names that it exports; reads the file again, and may raise `ElfError` as before."""
        return frozenset(ElfFile(self.path).exported())


@dataclass(frozen=True)
class Search:
    """Where the loader looks: by default this Python and its machine.

    Attributes
    ----------
    torch_first : bool
        Whether `import torch` comes before the import of the extension: then torch's libraries are loaded already.
    torch : Path or None
        Folder of the `torch` package; None where it is not installed.
    python : Path or None
        The interpreter. Without one, or where it is a script, the names of Python itself (`Py…`) count as found.
    library_path : str
        `LD_LIBRARY_PATH`.
    system : mapping of str to tuple of str
        Library names and their files, in order, as `loader_path` returns them.
    folders : tuple of str
        Where the loader looks last.
    suffixes : tuple of str
        Endings of file names that the interpreter imports; empty where they are not known.
    """

    torch_first: bool = True
    torch: Path | None = field(default_factory=lambda: _torch_folder())
    python: Path | None = field(default_factory=lambda: Path(sys.executable) if sys.executable else None)
    library_path: str = field(default_factory=lambda: os.environ.get("LD_LIBRARY_PATH", ""))
    system: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: loader_path()[0])
    folders: tuple[str, ...] = field(default_factory=lambda: loader_path()[1])
    suffixes: tuple[str, ...] = field(default_factory=lambda: tuple(importlib.machinery.EXTENSION_SUFFIXES))


@dataclass(frozen=True)
class Finding:
    """One thing that stands against an import.

    Attributes
    ----------
    id : str or None
        Failure of the catalogue: `U1`, `U2`, `L1` … `L8`, `I1`, `I11`; None for a version that is neither of glibc nor
        of libstdc++.
    text : str
        The message of the ImportError, letter for letter; `Bus error` where Python is ended by one.
    reason : str
        One line: the mechanism, in this case.
    """

    id: str | None
    text: str
    reason: str


def read_extension(path: str | os.PathLike[str]) -> Extension:
    """Read what a compiled extension asks for; it is not loaded.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Extension

    Raises
    ------
    ElfError
        Where it is no 64-bit shared library, is cut off or damaged, is a folder, or cannot be read.
    """
    elf = ElfFile(os.fspath(path))
    undefined = tuple(name for name, _ in elf.unresolved())
    spoken = {string_abi(name) for name in undefined} - {None}
    words = Path(path).name.split(".")
    return Extension(
        path=os.fspath(path),
        machine=elf.machine,
        needed=elf.needed,
        rpath=elf.rpath,
        runpath=elf.runpath,
        soname=elf.soname,
        undefined=undefined,
        versions=tuple((library, version) for library, version, _, _ in elf.version_needs),
        abi="both" if len(spoken) == 2 else next(iter(spoken), "neither"),
        tag=words[-2] if len(words) > 2 and words[-1] == "so" else None,
        gpu_archs=elf.gpu_archs,
    )


def predict(extension: Extension, search: Search) -> list[Finding]:
    """Tell what an import of the extension would say, without loading anything.

    Parameters
    ----------
    extension : Extension
    search : Search

    Returns
    -------
    list of Finding
        In the loader's order: the first is what it prints, the others come to light one by one. Empty where nothing
        stands against the import. Undefined symbols are looked for only where all needed libraries were found.

    Raises
    ------
    ElfError
        Where the extension's file is not what it was any more.
    """
    return _Loader(search).findings(extension)


def refused(path: str | os.PathLike[str], error: ElfError) -> Finding:
    """Return what an import says of a file that `read_extension` refuses with a known text."""
    text = error.text if error.text == BUS_ERROR else f"{os.fspath(path)}: {error.text}"
    return Finding(error.id, text, str(error))


def loader_path(root: str | os.PathLike[str] = "/") -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """Return the libraries of `/etc/ld.so.cache`, and the folders that the loader tries after it.

    Parameters
    ----------
    root : str or Path
        The folder that stands for `/`. The paths that are returned do not contain it.

    Returns
    -------
    dict of str to tuple of str, tuple of str
        Name and files of each library, of every machine that the cache knows; empty where there is no cache (musl, a
        bare container) or it cannot be understood. The folders are those that exist.
    """
    root = Path(root)
    try:
        libraries = _read_cache((root / "etc/ld.so.cache").read_bytes())
    except OSError:
        libraries = {}
    machine = platform.machine()
    places = (f"lib/{machine}-linux-gnu", f"usr/lib/{machine}-linux-gnu", "lib64", "usr/lib64", "lib", "usr/lib")
    return libraries, tuple(f"/{place}" for place in places if (root / place).is_dir())


def _read_cache(data: bytes) -> dict[str, tuple[str, ...]]:
    start = data.find(b"glibc-ld.so.cache1.1")  # an older format may stand before it
    if start < 0 or len(data) < start + 48:
        return {}
    (count,) = struct.unpack_from("=I", data, start + 20)
    found: dict[str, tuple[str, ...]] = {}
    if start + 48 + 24 * count <= len(data):
        for _, key, value, _, _ in struct.iter_unpack("=iIIIQ", data[start + 48 : start + 48 + 24 * count]):
            texts = [data[start + at : data.find(b"\0", start + at)] for at in (key, value)]
            name, path = (text.decode(errors="replace") for text in texts)
            if name and path.startswith("/"):
                found[name] = (*found.get(name, ()), path)
    return found


def _torch_folder() -> Path | None:
    folders = (Path(entry) / "torch" for entry in sys.path if entry)
    return next((folder for folder in folders if (folder / "lib").is_dir()), None)


@dataclass(eq=False)
class _Library:
    """A library in the process: its file, and the one that asked for it."""

    elf: ElfFile
    asker: _Library | None = None
    private: bool = True  # of the extension's own surroundings, not of the system or torch, which are taken as whole


class _Loader:
    """One process, as far as the loader knows it: what is loaded, and what would come with the next library."""

    def __init__(self, search: Search):
        self._search = search
        self._loaded: dict[str, _Library] = {}
        self._by_file: dict[tuple[int, int], _Library] = {}
        self._missing: dict[str, Finding] = {}
        self._main = self._try(str(search.python.resolve())) if search.python else None
        self._machine = self._main.elf.machine if self._main else platform.machine()
        self._global: list[_Library] = self._closure(self._main) if self._main else []
        if search.torch and search.torch_first:
            for path in (search.torch / "lib/libtorch_global_deps.so", *sorted(search.torch.glob("_C.*so"))):
                library = self._try(str(path))
                libraries = self._closure(library) if library and library.elf.machine == self._machine else []
                if path.parent.name == "lib":  # the only one that torch loads with RTLD_GLOBAL
                    self._global += libraries
        self._missing.clear()

    def findings(self, extension: Extension) -> list[Finding]:
        misnamed = self._misnamed(extension)
        if misnamed:
            return [misnamed]
        if extension.machine != self._machine:
            return [self._wrong_machine(extension.path, extension.machine, extension.path)]
        before = {id(library) for library in self._loaded.values()}
        scope = self._closure(_Library(ElfFile(extension.path), self._main))
        fresh = [library for library in scope if library.private and id(library) not in before]
        found = [*self._missing.values()]
        found += [finding for library in fresh for finding in self._versions(library, scope)]
        if not self._missing:
            scope += self._global
            found += [finding for library in reversed(fresh) for finding in self._symbols(library, scope)]
        return found

    def _misnamed(self, extension: Extension) -> Finding | None:
        name = Path(extension.path).name
        if not self._search.suffixes or name.startswith("lib"):
            return None
        module = name.split(".")[0]
        if any(name == module + suffix for suffix in self._search.suffixes):
            return None
        reason = f"{name} is for another Python or machine: this one imports {module} with {self._search.suffixes[0]}"
        return Finding("I1", f"No module named '{module}'", reason)

    def _closure(self, root: _Library) -> list[_Library]:
        """Return the library and all that come with it, breadth first, as the loader maps them."""
        self._register(root)
        order = [root]
        for library in order:
            for name in library.elf.needed:
                found = self._loaded.get(name) or self._find(name, library)
                if found and found not in order:
                    order.append(found)
        return order

    def _register(self, library: _Library, *names: str) -> None:
        for name in (*names, library.elf.soname):
            if name:
                self._loaded.setdefault(name, library)

    def _find(self, name: str, asker: _Library) -> _Library | None:
        passed = None
        for path, private in self._candidates(name, asker):
            try:
                facts = os.stat(path)  # noqa: PTH116 (a Path would cost as much as the rest)
            except (OSError, ValueError):
                continue
            library = self._by_file.get((facts.st_dev, facts.st_ino))
            if library is None:
                try:
                    library = _Library(ElfFile(path), asker, private)
                except ElfError as error:
                    if error.id != "L8":  # the loader goes on looking
                        continue
                    self._missing.setdefault(name, refused(path, error))
                    return None
                if library.elf.machine != self._machine:
                    passed = passed or library.elf
                    continue
                self._by_file[facts.st_dev, facts.st_ino] = library
            self._register(library, name)
            return library
        wrong = self._wrong_machine(name, passed.machine, passed.path) if passed else None
        self._missing.setdefault(name, wrong or self._not_found(name, asker))
        return None

    def _candidates(self, name: str, asker: _Library) -> Iterator[tuple[str, bool]]:
        if "/" in name:
            yield _expanded(name, asker.elf.path), True
            return
        torch = str(self._search.torch / "lib") if self._search.torch else None
        runpath = asker.elf.runpath
        places: list[tuple[str, str]] = []
        if not runpath:
            chain, above = [], asker
            while above:
                chain.append(above)
                above = above.asker
            if self._main and self._main not in chain:
                chain.append(self._main)
            with_rpath = [library.elf for library in chain if not library.elf.runpath]
            places += [(folder, elf.path) for elf in with_rpath for folder in elf.rpath]
        if self._search.library_path:
            places += [(folder or ".", "") for folder in re.split("[:;]", self._search.library_path)]
        places += [(folder, asker.elf.path) for folder in runpath]
        for folder, origin in places:
            folder = _expanded(folder, origin)
            beside_torch = torch is not None and os.path.realpath(folder) == os.path.realpath(torch)
            yield f"{folder}/{name}", asker.private and not beside_torch  # what torch brings is taken as whole too
        for path in self._search.system.get(name, ()):
            yield path, False
        for folder in self._search.folders:
            yield f"{folder}/{name}", False

    def _try(self, path: str) -> _Library | None:
        try:
            return _Library(ElfFile(path), None, False)
        except ElfError:
            return None

    def _wrong_machine(self, name: str, machine: str, path: str) -> Finding:
        reason = f"{path} is there, but it is built for {machine} and this Python for {self._machine}"
        return Finding("L6", _cannot_open(name), reason)

    def _not_found(self, name: str, asker: _Library) -> Finding:
        torch, asked = self._search.torch, Path(asker.elf.path).name
        if name in self._with_torch:
            return Finding("L1", _cannot_open(name), f"`import torch` loads {name}, and has to come first")
        if torch and (torch / "lib" / name).exists():
            return Finding("L7", _cannot_open(name), f"{name} lies in torch/lib, but `import torch` does not load it")
        if _TORCH.match(name):
            if torch is None:
                return Finding("L1", _cannot_open(name), f"{asked} needs {name}, and no torch is installed here")
            if "cuda" in name:
                return Finding(
                    "L2", _cannot_open(name), f"{asked} is built for a CUDA torch, and this one has no {name}"
                )
            return Finding("L7", _cannot_open(name), f"{asked} is built for another torch: this one has no {name}")
        if _CUDA.match(name):
            stem = name.split(".so")[0] + ".so."
            known = {*self._loaded, *self._with_torch, *self._search.system}
            others = sorted(other for other in known if other.startswith(stem))
            here = f"here is {', '.join(others)}" if others else "no other is here"
            return Finding("L3", _cannot_open(name), f"{asked} is built for the CUDA of {name}; {here}")
        return Finding("L7", _cannot_open(name), f"{asked} needs {name}, which is in none of the loader's folders")

    @functools.cached_property
    def _with_torch(self) -> set[str]:
        """The libraries that would be loaded already if torch had been imported first; empty where it has."""
        if self._search.torch_first:
            return set()
        return set(_Loader(replace(self._search, torch_first=True))._loaded)

    def _versions(self, library: _Library, scope: list[_Library]) -> Iterator[Finding]:
        for name, version, may_miss, _ in library.elf.version_needs:
            source = self._loaded.get(name)
            if may_miss or source not in scope or version in source.elf.version_definitions:
                continue
            family = version.rpartition("_")[0]
            if not source.elf.version_definitions:
                continue  # the loader accepts a library that has no versions at all
            failure = {"GLIBC": "L4", "GLIBCXX": "L5", "CXXABI": "L5"}.get(family)
            known = [item for item in source.elf.version_definitions if re.fullmatch(rf"{family}_[\d.]+", item)]
            newest = max(known, key=lambda item: [int(part) for part in re.findall(r"\d+", item)], default="none")
            text = f"{source.elf.path}: version `{version}' not found (required by {library.elf.path})"
            yield Finding(failure, text, f"built on a newer system: the newest {family} of {name} here is {newest}")

    def _symbols(self, library: _Library, scope: list[_Library]) -> Iterator[Finding]:
        for name, version in library.elf.unresolved():
            if any(other.elf.exports(name) for other in scope):
                continue
            if self._main is None and re.match("_?Py", name):
                continue
            what = f"undefined symbol: {name}" + (f", version {version}" if version else "")
            failure, reason = self._why(name)
            yield Finding(failure, f"{library.elf.path}: {what}", reason)

    def _why(self, name: str) -> tuple[str, str]:
        called, library = "::".join(qualified(name)) or name, owner(name)
        if re.match("_?Py", name):
            return "I11", f"{called} is of Python itself: built for another Python than this one"
        holder = next((elf for elf in self._torch_libraries if elf.exports(name)), None)
        if holder:
            return "U1", f"{called} is in {Path(holder.path).name}, which the extension is not linked with"
        if library is None:
            return "U1", f"no library that comes with the extension has {called}"
        spoken, torch = string_abi(name), self._torch_abi
        if spoken and torch and spoken != torch:
            why = f"built for the {spoken} std::string, torch for the {torch} one"
            return "U2", f"{called} should be in {library}: {why}"
        if library not in {Path(elf.path).name for elf in self._torch_libraries}:
            return "U1", f"{called} should be in {library}, which this torch does not have"
        return "U1", f"{called} should be in {library}, and is not: built against another torch"

    @functools.cached_property
    def _torch_libraries(self) -> list[ElfFile]:
        paths = sorted((self._search.torch / "lib").glob("*.so")) if self._search.torch else []
        found = [self._loaded.get(path.name) or self._try(str(path)) for path in paths]
        return [library.elf for library in found if library]

    @functools.cached_property
    def _torch_abi(self) -> str | None:
        """`cxx11` or `old`, from the names that libc10 exports."""
        for elf in self._torch_libraries:
            if Path(elf.path).name == "libc10.so":
                spoken = {string_abi(name) for name in elf.exported() if qualified(name)[:1] == ["c10"]} - {None}
                return "cxx11" if "cxx11" in spoken else next(iter(spoken), None)
        return None


def _cannot_open(name: str) -> str:
    return f"{name}: cannot open shared object file: No such file or directory"


def _expanded(folder: str, path: str) -> str:
    origin = str(Path(path).absolute().parent) if path else ""
    return re.sub(r"\$(ORIGIN\b|\{ORIGIN\})", lambda _: origin, folder)
