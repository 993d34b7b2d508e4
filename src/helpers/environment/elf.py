"""What the dynamic loader would say of a compiled extension, read from files alone: nothing is loaded and nothing runs.

`read_extension` tells what a shared library asks for and `predict` what would happen if a given Python imported it.
The rules are those of glibc on 64-bit Linux. Files are read as the loader reads them, by segments and hash tables (a
symbol is found among libtorch's without reading the others), not by sections, which a stripped file may lack. It
installs and repairs nothing, and a symbol that resolves may still do something else than it did.
"""

from __future__ import annotations

import functools
import importlib.machinery
import mmap
import os
import platform
import re
import stat
import struct
import sys
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

MACHINES = {3: "i386", 21: "ppc64le", 22: "s390x", 40: "arm", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
_LOAD, _DYNAMIC = 1, 2  # segment types
_NEEDED, _HASH, _STRTAB, _SYMTAB, _RELA, _RELASZ, _STRSZ, _SONAME = 1, 4, 5, 6, 7, 8, 10, 14  # dynamic tags
_RPATH, _PLTRELSZ, _JMPREL, _RUNPATH = 15, 2, 23, 29
_GNU_HASH, _VERSYM, _RELACOUNT = 0x6FFFFEF5, 0x6FFFFFF0, 0x6FFFFFF9
_VERDEF, _VERNEED = 0x6FFFFFFC, 0x6FFFFFFE
_MOST = 10_000  # entries of a list that a damaged file could make endless
_CUDA = re.compile(r"lib(cudart|cublas|cublasLt|cudnn|cufft|curand|cusolver|cusparse|nccl|nvrtc|nvJitLink)\.so\b")
_TORCH = re.compile(r"lib(c10|torch|shm|caffe2)\w*\.so$")


class ElfError(Exception):
    """A file that is no 64-bit shared library, is damaged, or cannot be read.

    Attributes
    ----------
    text : str or None
        What the loader prints about such a file, where that is known.
    """

    def __init__(self, message: str, text: str | None = None):
        super().__init__(message)
        self.text = text


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

    def defined(self) -> frozenset[str]:
        """Return the mangled names that it exports; reads the file again, and may raise `ElfError` as before."""
        return frozenset(_Elf(self.path).exported())


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
        Failure of the catalogue: `U1`, `U2`, `L1` … `L6`, `I1`; None where it has no entry of its own.
    text : str
        The message of the ImportError, letter for letter.
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
    elf = _Elf(os.fspath(path))
    undefined = tuple(name for name, _, _ in elf.unresolved())
    spoken = {_abi(name) for name in undefined} - {None}
    words = Path(path).name.split(".")
    return Extension(
        path=os.fspath(path),
        machine=elf.machine,
        needed=elf.needed,
        rpath=elf.folders(_RPATH),
        runpath=elf.folders(_RUNPATH),
        soname=elf.soname,
        undefined=undefined,
        versions=tuple((library, version) for library, version, _, _ in elf.version_needs),
        abi="both" if len(spoken) == 2 else next(iter(spoken), "neither"),
        tag=words[-2] if len(words) > 2 and words[-1] == "so" else None,
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


class _Elf:
    """A 64-bit ELF file with a dynamic segment, of which only what is asked for is read."""

    def __init__(self, path: str):
        self.path = path
        self._data = _mapped(path)
        head = self._data[:20]
        if not head:
            raise ElfError(f"{path} is empty, expected a shared library. Install its package again.", "file too short")
        if head[:4] != b"\x7fELF":
            raise ElfError(
                f"{path} begins with {bytes(head[:4])!r}, expected an ELF file, the shared library of Linux.",
                "invalid ELF header" if len(self._data) >= 64 else "file too short",
            )
        if len(self._data) < 64:
            raise self._damaged("its header is cut off", "file too short")
        if head[4] != 2:
            raise ElfError(
                f"{path} is a 32-bit library, expected a 64-bit one. Get a build for this machine.",
                "wrong ELF class: ELFCLASS32" if head[4] == 1 else None,
            )
        if head[5] not in (1, 2):
            raise self._damaged("its byte order is unknown")
        self._order = "<" if head[5] == 1 else ">"
        kind, number, _, _, table, _, _, _, size, count = self._read("HHIQQQIHHH", 16)
        if kind not in (2, 3):
            raise ElfError(
                f"{path} is an object or core file, expected a shared library. Link it with -shared.",
                "only ET_DYN and ET_EXEC can be loaded",
            )
        self.machine = MACHINES.get(number, f"machine {number}")
        if size != 56:
            raise self._damaged(f"its segment headers take {size} bytes, not 56")
        segments = [self._read("IIQQQQQQ", table + 56 * row) for row in range(count)]
        self._loads = [(at, start, length) for kind, _, start, at, _, length, _, _ in segments if kind == _LOAD]
        dynamic = next(((start, length) for kind, _, start, _, _, length, _, _ in segments if kind == _DYNAMIC), None)
        if dynamic is None:
            raise ElfError(f"{path} has no dynamic segment, expected a shared library, not a static program.")
        self._tags: dict[int, list[int]] = {}
        words = self._slice(dynamic[0], dynamic[1] // 16 * 16)
        for tag, value in struct.iter_unpack(f"{self._order}QQ", words):
            if tag == 0:
                break
            self._tags.setdefault(tag, []).append(value)
        strings, size = self._tag(_STRTAB), self._tag(_STRSZ) or 0
        self._strings = self._slice(self._offset(strings), size) if strings is not None and size < 2**31 else b""
        self.needed = tuple(self._text(at) for at in self._tags.get(_NEEDED, []))
        soname = self._tag(_SONAME)
        self.soname = None if soname is None else self._text(soname)

    def folders(self, tag: int) -> tuple[str, ...]:
        at = self._tag(tag)
        return tuple(part for part in self._text(at).split(":") if part) if at is not None else ()

    @functools.cached_property
    def version_needs(self) -> list[tuple[str, str, bool, int]]:
        """Library, version, whether it may be missing, and index; in the file's order."""
        found = []
        for at, (_, count, library, aux, _) in self._chain(self._tag(_VERNEED), "HHIII"):
            for _, (_, flags, index, name, _) in self._chain_at(at + aux, "IHHII", count):
                found.append((self._text(library), self._text(name), bool(flags & 2), index))
                if len(found) > _MOST:
                    raise self._damaged("its list of versions has no end")
        return found

    @functools.cached_property
    def version_definitions(self) -> tuple[str, ...]:
        rows = self._chain(self._tag(_VERDEF), "HHHHIII")
        return tuple(self._text(self._read("I", at + row[5])[0]) for at, row in rows)

    def unresolved(self) -> Iterator[tuple[str, str | None, str | None]]:
        """Yield name, version and its library of each symbol that must come from elsewhere, as relocation goes."""
        rows = array("Q")
        for table, size, skipped in ((_RELA, _RELASZ, self._tag(_RELACOUNT) or 0), (_JMPREL, _PLTRELSZ, 0)):
            at, length = self._tag(table), self._tag(size) or 0
            if at is not None and length > 24 * skipped:
                part = self._slice(self._offset(at) + 24 * skipped, (length - 24 * skipped) // 24 * 24)
                rows.frombytes(part)
        if (self._order == "<") != (sys.byteorder == "little"):
            rows.byteswap()
        versions = {index: (name, library) for library, name, _, index in self.version_needs}
        table = self._tag(_VERSYM)
        for row in dict.fromkeys(word >> 32 for word in rows[1::3]):
            name, info, _, section, _, _ = self._symbol(row) if row else (0, 0, 0, 1, 0, 0)
            if section == 0 and info >> 4 == 1:  # undefined and not weak
                index = self._read("H", self._offset(table) + 2 * row)[0] & 0x7FFF if table is not None else 0
                yield self._text(name), *versions.get(index, (None, None))

    def exports(self, name: str) -> bool:
        """Whether it defines the symbol, found through its hash table as the loader does."""
        key = name.encode(errors="replace")
        rows = self._gnu_rows(key) if _GNU_HASH in self._tags else self._old_rows(key)
        return any(self._is_exported(row, key) for row in rows)

    def exported(self) -> Iterator[str]:
        for row in range(1, self._count()):
            name, info, _, section, _, _ = self._symbol(row)
            if section != 0 and info >> 4 in (1, 2, 10):
                yield self._text(name)

    def _is_exported(self, row: int, key: bytes) -> bool:
        name, info, _, section, _, _ = self._symbol(row)
        same = self._strings[name : name + len(key) + 1] == key + b"\0"
        return same and section != 0 and info >> 4 in (1, 2, 10)  # global, weak, unique

    def _gnu_rows(self, key: bytes) -> Iterator[int]:
        table = self._offset(self._tag(_GNU_HASH))
        buckets, first, words, shift = self._read("IIII", table)
        number = _gnu_hash(key)
        if not buckets or not words:
            return
        (word,) = self._read("Q", table + 16 + 8 * (number // 64 % words))
        if not (word >> number % 64 & 1 and word >> (number >> shift) % 64 & 1):
            return
        start = table + 16 + 8 * words
        (begin,) = self._read("I", start + 4 * (number % buckets))
        for row in range(begin, begin + _MOST) if begin >= first else ():
            (entry,) = self._read("I", start + 4 * (buckets + row - first))
            if entry | 1 == number | 1:
                yield row
            if entry & 1:
                return

    def _old_rows(self, key: bytes) -> Iterator[int]:
        if _HASH not in self._tags:
            return
        table = self._offset(self._tag(_HASH))
        buckets, _ = self._read("II", table)
        number = 0
        for byte in key:
            number = (number << 4) + byte
            number = (number ^ (number >> 28 << 28) ^ (number >> 28 << 4)) & 0x0FFFFFFF
        row = self._read("I", table + 8 + 4 * (number % buckets))[0] if buckets else 0
        for _ in range(_MOST):
            if not row:
                return
            yield row
            (row,) = self._read("I", table + 8 + 4 * (buckets + row))

    def _count(self) -> int:
        if _GNU_HASH not in self._tags:
            return self._read("II", self._offset(self._tag(_HASH)))[1] if _HASH in self._tags else 0
        table = self._offset(self._tag(_GNU_HASH))
        buckets, first, words, _ = self._read("IIII", table)
        start = table + 16 + 8 * words
        row = max((row for (row,) in struct.iter_unpack(f"{self._order}I", self._slice(start, 4 * buckets))), default=0)
        if row < first:
            return first
        while not self._read("I", start + 4 * (buckets + row - first))[0] & 1:
            row += 1
        return row + 1

    def _symbol(self, row: int) -> tuple[int, ...]:
        table = self._tag(_SYMTAB)
        if table is None:
            raise self._damaged("it has no symbol table")
        return self._read("IBBHQQ", self._offset(table) + 24 * row)

    def _chain(self, address: int | None, form: str) -> Iterator[tuple[int, tuple[int, ...]]]:
        return self._chain_at(self._offset(address), form, _MOST) if address is not None else iter(())

    def _chain_at(self, at: int, form: str, count: int) -> Iterator[tuple[int, tuple[int, ...]]]:
        for _ in range(count):
            row = self._read(form, at)
            yield at, row
            if not row[-1]:
                return
            at += row[-1]

    def _tag(self, tag: int) -> int | None:
        return self._tags[tag][0] if tag in self._tags else None

    def _offset(self, address: int) -> int:
        for at, start, length in self._loads:
            if at <= address < at + length:
                return address - at + start
        raise self._damaged(f"address {address:#x} is in none of its segments")

    def _text(self, at: int) -> str:
        end = self._strings.find(b"\0", at)
        if end < 0:
            raise self._damaged("a name is outside its table of strings")
        return self._strings[at:end].decode(errors="replace")

    def _read(self, form: str, at: int) -> tuple[int, ...]:
        form = self._order + form
        if at + struct.calcsize(form) > len(self._data):
            raise self._damaged(f"it ends at {len(self._data)} bytes and refers to byte {at}")
        return struct.unpack_from(form, self._data, at)

    def _slice(self, at: int, size: int) -> bytes:
        if at + size > len(self._data):
            raise self._damaged(f"it ends at {len(self._data)} bytes and refers to byte {at + size}")
        return self._data[at : at + size]

    def _damaged(self, what: str, text: str | None = None) -> ElfError:
        message = f"{self.path} is damaged or cut off: {what}. Download or build it again (pip: --no-cache-dir)."
        return ElfError(message, text)


@functools.lru_cache(4096)
def _gnu_hash(key: bytes) -> int:
    number = 5381
    for byte in key:
        number = (number * 33 + byte) & 0xFFFFFFFF
    return number


def _mapped(path: str) -> mmap.mmap | bytes:
    try:
        kind = Path(path).stat().st_mode
        if not stat.S_ISREG(kind):  # opening a pipe would wait
            what = "a folder" if stat.S_ISDIR(kind) else "no regular file"
            raise ElfError(f"{path} is {what}, expected a shared library. Give the path of the .so file.")
        with Path(path).open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        text = f"cannot open shared object file: {reason}"
        raise ElfError(f"{path} cannot be read: {reason}. Check the path and its permissions.", text) from error
    except ValueError as error:
        if "\0" in path:
            raise ElfError(f"{path!r} is no path: it holds a NUL character.") from error
        return b""  # an empty file cannot be mapped


@dataclass(eq=False)
class _Library:
    """A library in the process: its file, and the one that asked for it."""

    elf: _Elf
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
        scope = self._closure(_Library(_Elf(extension.path), self._main))
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
                    library = _Library(_Elf(path), asker, private)
                except ElfError as error:
                    if error.text is None or "ELF class" in error.text or "cannot open" in error.text:
                        continue
                    self._missing.setdefault(name, Finding(None, f"{path}: {error.text}", str(error)))
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
        runpath = asker.elf.folders(_RUNPATH)
        places: list[tuple[str, str]] = []
        if not runpath:
            chain, above = [], asker
            while above:
                chain.append(above)
                above = above.asker
            if self._main and self._main not in chain:
                chain.append(self._main)
            with_rpath = [library.elf for library in chain if not library.elf.folders(_RUNPATH)]
            places += [(folder, elf.path) for elf in with_rpath for folder in elf.folders(_RPATH)]
        if self._search.library_path:
            places += [(folder or ".", "") for folder in re.split("[:;]", self._search.library_path)]
        places += [(folder, asker.elf.path) for folder in runpath]
        for folder, origin in places:
            folder = _expanded(folder, origin)
            yield f"{folder}/{name}", torch is None or os.path.realpath(folder) != os.path.realpath(torch)
        for path in self._search.system.get(name, ()):
            yield path, False
        for folder in self._search.folders:
            yield f"{folder}/{name}", False

    def _try(self, path: str) -> _Library | None:
        try:
            return _Library(_Elf(path), None, False)
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
            return Finding(None, _cannot_open(name), f"{name} lies in torch/lib, but `import torch` does not load it")
        if _TORCH.match(name):
            if torch is None:
                return Finding("L1", _cannot_open(name), f"{asked} needs {name}, and no torch is installed here")
            if "cuda" in name:
                return Finding(
                    "L2", _cannot_open(name), f"{asked} is built for a CUDA torch, and this one has no {name}"
                )
            return Finding(None, _cannot_open(name), f"{asked} is built for another torch: this one has no {name}")
        if _CUDA.match(name):
            stem = name.split(".so")[0] + ".so."
            known = {*self._loaded, *self._with_torch, *self._search.system}
            others = sorted(other for other in known if other.startswith(stem))
            here = f"here is {', '.join(others)}" if others else "no other is here"
            return Finding("L3", _cannot_open(name), f"{asked} is built for the CUDA of {name}; {here}")
        return Finding(None, _cannot_open(name), f"{asked} needs {name}, which is in none of the loader's folders")

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
        for name, version, source in library.elf.unresolved():
            if any(other.elf.exports(name) for other in scope):
                continue
            if self._main is None and re.match("_?Py", name):
                continue
            if version and self._loaded.get(source) in scope:
                what = f"symbol {name}, version {version} not defined in file {source} with link time reference"
            else:
                what = f"undefined symbol: {name}" + (f", version {version}" if version else "")
            failure, reason = self._why(name)
            yield Finding(failure, f"{library.elf.path}: {what}", reason)

    def _why(self, name: str) -> tuple[str | None, str]:
        words = _words(name)
        called = "::".join(words) or name
        if re.match("_?Py", name):
            return None, f"{called} is of Python itself: built for another Python than this one"
        owner = _owner(words)
        holder = next((elf for elf in self._torch_libraries if elf.exports(name)), None)
        if holder:
            return "U1", f"{called} is in {Path(holder.path).name}, which the extension is not linked with"
        if owner is None:
            return "U1", f"no library that comes with the extension has {called}"
        spoken, torch = _abi(name), self._torch_abi
        if spoken and torch and spoken != torch:
            return (
                "U2",
                f"{called} should be in {owner}: built for the {spoken} std::string, torch for the {torch} one",
            )
        if owner not in {Path(elf.path).name for elf in self._torch_libraries}:
            return "U1", f"{called} should be in {owner}, which this torch does not have"
        return "U1", f"{called} should be in {owner}, and is not: built against another torch"

    @functools.cached_property
    def _torch_libraries(self) -> list[_Elf]:
        paths = sorted((self._search.torch / "lib").glob("*.so")) if self._search.torch else []
        found = [self._loaded.get(path.name) or self._try(str(path)) for path in paths]
        return [library.elf for library in found if library]

    @functools.cached_property
    def _torch_abi(self) -> str | None:
        """`cxx11` or `old`, from the names that libc10 exports."""
        for elf in self._torch_libraries:
            if Path(elf.path).name == "libc10.so":
                spoken = {_abi(name) for name in elf.exported() if _words(name)[:1] == ["c10"]} - {None}
                return "cxx11" if "cxx11" in spoken else next(iter(spoken), None)
        return None


def _cannot_open(name: str) -> str:
    return f"{name}: cannot open shared object file: No such file or directory"


def _expanded(folder: str, path: str) -> str:
    origin = str(Path(path).absolute().parent) if path else ""
    return re.sub(r"\$(ORIGIN\b|\{ORIGIN\})", lambda _: origin, folder)


def _owner(words: list[str]) -> str | None:
    """Return the library of torch that should have the name."""
    if not words or words[0] not in ("c10", "c10d", "at", "torch", "caffe2"):
        return "libtorch_python.so" if words and words[0].startswith("THP") else None
    if words[0] == "c10":
        return "libc10_cuda.so" if words[1:2] == ["cuda"] else "libc10.so"
    if words[1:2] in (["cuda"], ["native_cuda"]):
        return "libtorch_cuda.so"
    return "libtorch_python.so" if words[0] == "torch" and words[1:2] == ["utils"] else "libtorch_cpu.so"


# The tokens of a mangled name whose digits do not begin an identifier, then identifiers, then anything.
_TOKEN = re.compile(r"S[0-9A-Z]*_|T[0-9]*_|L[a-z]n?\d+E|A\d+_|S[a-z]|(\d+)|.", re.DOTALL)


def _tokens(name: str) -> Iterator[tuple[str, bool]]:
    at = 2 if name.startswith("_Z") else len(name)
    while at < len(name):
        found = _TOKEN.match(name, at)
        at = found.end()
        if found[1] and len(found[1]) < 6:
            yield name[at : at + int(found[1])], True
            at += int(found[1])
        else:
            yield found[0], False


def _abi(name: str) -> str | None:
    """Return which `std::string` a mangled name speaks of: `cxx11`, `old` or None."""
    old = False
    for token, identifier in _tokens(name):
        if identifier and token in ("__cxx11", "cxx11"):
            return "cxx11"
        old = old or (token == "Ss" and not identifier)
    return "old" if old else None


def _words(name: str) -> list[str]:
    """Return the qualified name: `["c10", "detail", "torchCheckFail"]`; the name itself where it is not mangled."""
    if not name.startswith("_Z"):
        return [name]
    words: list[str] = []
    for token, identifier in _tokens(name):
        if identifier:
            words.append(token)
        elif words or token not in "NKVTIS":  # nested, const, volatile; typeinfo and vtables begin with T
            break
    return words
